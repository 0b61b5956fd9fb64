# complete.zsh DIRECTORY TYPED: prints the completions that zsh offers when TAB is pressed after TYPED, one per line, with
# the completions in DIRECTORY. zsh completes only in a terminal, so it runs in a pseudo-terminal.
zmodload zsh/zpty
zpty shell zsh -f -i

read_until() {
  local all= part
  while zpty -r shell part; do
    all+=$part
    [[ $all != *$1* ]] || break
  done
  print -r -- $all
}

zpty -w shell "PS1=; fpath=(${(q)1} \$fpath); autoload -Uz compinit; compinit -u -D"
# Print the words instead of offering them, and discard the line.
zpty -w shell "compadd() {
  local -a words
  [[ \${@[1,(i)(-|--)]} != *-(O|A|D)\ * ]] || { builtin compadd \"\$@\"; return }
  builtin compadd -A words \"\$@\"
  print -rl -- '<'\${^words}'>'
  builtin compadd \"\$@\"
}"
zpty -w shell 'finish() { zle complete-word; print "of""fered"; zle send-break }; zle -N finish; bindkey "^I" finish; print re""ady'
read_until ready >/dev/null
zpty -n -w shell "socket-state-exporter $2"$'\t'
read_until offered | grep -o "<[^<>]*>" | tr -d "<>"
