# complete.zsh DIRECTORY TYPED: prints what zsh offers when TAB is pressed behind TYPED, a line each, for the
# completions in DIRECTORY. zsh completes only where it believes that a person types: in a pseudo-terminal.
zmodload zsh/zpty
zpty shell zsh -f -i

heard() {
  local all= part
  while zpty -r shell part; do
    all+=$part
    [[ $all != *$1* ]] || break
  done
  print -r -- $all
}

zpty -w shell "PS1=; fpath=(${(q)1} \$fpath); autoload -Uz compinit; compinit -u -D"
# Instead of offering them, the words are printed and the line is given up.
zpty -w shell "compadd() {
  local -a words
  [[ \${@[1,(i)(-|--)]} != *-(O|A|D)\ * ]] || { builtin compadd \"\$@\"; return }
  builtin compadd -A words \"\$@\"
  print -rl -- '<'\${^words}'>'
  builtin compadd \"\$@\"
}"
zpty -w shell 'finish() { zle complete-word; print "of""fered"; zle send-break }; zle -N finish; bindkey "^I" finish; print re""ady'
heard ready >/dev/null
zpty -n -w shell "socket-state-exporter $2"$'\t'
heard offered | grep -o "<[^<>]*>" | tr -d "<>"
