# written by tests/manual from the flags: make golden
_socket_state_exporter() {
  local word=${COMP_WORDS[COMP_CWORD]} before=${COMP_WORDS[COMP_CWORD - 1]} flags argument=
  # bash parts --flag=value at the equals sign.
  if [[ $word == = ]]; then
    word=
  elif [[ $before == = ]]; then
    before=${COMP_WORDS[COMP_CWORD - 2]}
  fi
  COMPREPLY=()
  case $before in
    --web.listen-address | --web.telemetry-path)
      return
      ;;
    --web.config.file | --config.file)
      compopt -o filenames
      mapfile -t COMPREPLY < <(compgen -f -- "$word")
      return
      ;;
    --source)
      mapfile -t COMPREPLY < <(compgen -W "auto netlink psutil" -- "$word")
      return
      ;;
    --path.procfs)
      compopt -o filenames
      mapfile -t COMPREPLY < <(compgen -d -- "$word")
      return
      ;;
    --log.level)
      mapfile -t COMPREPLY < <(compgen -W "debug info warn error" -- "$word")
      return
      ;;
    --log.format)
      mapfile -t COMPREPLY < <(compgen -W "logfmt json" -- "$word")
      return
      ;;
  esac
  case ${COMP_WORDS[1]} in
    explain) flags="-h --help --json --config.file --source --path.procfs --log.level --log.format" ;;
    assets) flags="-h --help --overwrite" argument=DIR ;;
    *)
      flags="-h --help --version --web.listen-address --web.systemd-socket --web.config.file --web.enable-lifecycle --web.telemetry-path --web.disable-status-page --web.disable-exporter-metrics --config.file --config.check --once --source --collector.states --no-collector.states --collector.listeners --no-collector.listeners --collector.owners --no-collector.owners --collector.close-wait --no-collector.close-wait --collector.time-wait --no-collector.time-wait --collector.ephemeral --no-collector.ephemeral --collector.ephemeral-addresses --no-collector.ephemeral-addresses --collector.descriptors --no-collector.descriptors --collector.queues --no-collector.queues --collector.limits --no-collector.limits --path.procfs --log.level --log.format"
      [[ $COMP_CWORD -gt 1 ]] || flags+=" explain assets"
      ;;
  esac
  if [[ $argument == DIR && $word != -* ]]; then
    compopt -o filenames
    mapfile -t COMPREPLY < <(compgen -d -- "$word")
  else
    mapfile -t COMPREPLY < <(compgen -W "$flags" -- "$word")
  fi
}
complete -F _socket_state_exporter socket-state-exporter
