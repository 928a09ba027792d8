# The embedded sender: types one message into one tmux pane and says what is proved. It is given to
# `bash` on a host without mosaic, and to the local one for `--pane`. It needs bash, tmux and the
# programs of coreutils (base64, mkdir, rm, sleep), and leaves nothing behind but a small record of
# the message's id, so that the same id is never typed twice.
#
# Arguments: --id ID --name NAME --target SESSION[:WINDOW.PANE]|%N [--socket NAME|--path SOCKET]
#            --submits N --wait SECONDS [--force] [--verbose]
# Standard input: one line, the message in base64. A line that does not end is a message that was cut.
# Standard output: `mosaic-remote ready`, then one JSON document. Exit status: as `mosaic agent send`.
set -u
LC_ALL=C
export LC_ALL
unset TMUX
id='' name='' target='' at='' submits=3 wait=10 force='' verbose='' tmux=(tmux -u)
while (($#)); do
  case $1 in
    --id) id=$2; shift 2 ;;
    --name) name=$2; shift 2 ;;
    --target) target=$2; shift 2 ;;
    --socket) tmux=(tmux -u -L "$2"); at=${TMUX_TMPDIR:-/tmp}/tmux-$UID/$2; shift 2 ;;
    --path) tmux=(tmux -u -S "$2"); at=$2; shift 2 ;;
    --submits) submits=$2; shift 2 ;;
    --wait) wait=$2; shift 2 ;;
    --force) force=1; shift ;;
    --verbose) verbose=1; shift ;;
    *) printf 'sender: unknown argument %s\n' "$1" >&2; exit 70 ;;
  esac
done

now() {
  local t=${EPOCHREALTIME:-}
  if [[ -n $t ]]; then t=${t/[.,]/}; REPLY=${t%???}; else REPLY=$((SECONDS * 1000)); fi
}
now; begun=$REPLY

say() { if [[ -n $verbose ]]; then printf 'sender: %s\n' "$*" >&2; fi; }

quoted() {
  local t=${1//\\/\\\\}
  t=${t//\"/\\\"}
  REPLY=\"${t//[[:cntrl:]]/ }\"
}

record=''
# finish RECEIPT STATUS RETRY EVIDENCE REASON HINT: the last words, also kept for the next ask.
finish() {
  if [[ $1 == refused && -n $pending ]]; then
    pending=''
    finish uncertain 1 false '' "an earlier attempt with this id broke off while it was typed, or is still at it ($5)" 'look at the pane before you send it again under another id'
  fi
  local evidence reason=null hint=null doc
  now; local elapsed=$((REPLY - begun))
  if [[ -n $4 ]]; then quoted "$4"; evidence="[$REPLY]"; else evidence='[]'; fi
  if [[ -n $5 ]]; then quoted "$5"; reason=$REPLY; fi
  if [[ -n ${6:-} ]]; then quoted "$6"; hint=$REPLY; fi
  quoted "$name"; local agent=$REPLY
  quoted "$id"
  doc="{\"id\":$REPLY,\"agent\":$agent,\"receipt\":\"$1\",\"evidence\":$evidence,\"reason\":$reason,\"hint\":$hint,\"retry\":$3,\"screen\":[],\"dropped\":[],\"elapsed_ms\":$elapsed,\"channel\":\"pane\"}"
  # What was refused was not typed, and may be sent again under the same id.
  if [[ -n $record ]]; then
    if [[ $1 == refused ]]; then rm -f -- "$record"; else printf '%s %s\n' "$2" "$doc" >"$record"; fi
  fi
  printf '%s\n' "$doc"
  exit "$2"
}
refuse() { finish refused 1 false '' "$1" "${2:-}"; }
busy() { finish refused 75 true '' "$1" "${2:-}"; }

for program in tmux base64; do
  if ! command -v "$program" >/dev/null 2>&1; then
    printf 'mosaic-remote ready\n'
    finish refused 69 false '' "$program is not installed there"
  fi
done

printf 'mosaic-remote ready\n'
IFS= read -r encoded || exit 76

# The record of ids, for a day.
printf -v today '%(%s)T' -1
dir=${XDG_STATE_HOME:-$HOME/.local/state}/mosaic/sender
if ! (umask 077; mkdir -p -- "$dir") 2>/dev/null; then refuse "cannot write to $dir"; fi
# known: ends with what an earlier attempt of this id said. One that has not said it is $pending: it is
# still at work, or broke off.
pending=''
known() {
  local file stamp of status doc
  for file in "$dir"/*-*; do
    stamp=${file##*/}; of=${stamp#*-}; stamp=${stamp%%-*}
    if [[ $stamp == +([0-9]) ]] && ((stamp < today - 86400)); then rm -f -- "$file"; fi
    if [[ -f $file && $of == "$id" ]]; then
      read -r status doc <"$file" || true
      if [[ -n ${doc:-} ]]; then printf '%s\n' "$doc"; exit "$status"; fi
      pending=$file
    fi
  done
}
known

# The pane, by exact comparison: tmux itself would also take the beginning of a name.
found=()
if ! all=$("${tmux[@]}" list-panes -a -F '#{pane_id} #{window_index} #{pane_index} #{session_name}' 2>&1); then
  finish refused 69 false '' "tmux does not answer: $all"
fi
session=$target window='' pane=''
if [[ $target == *:* ]]; then
  session=${target%%:*} window=${target#*:}
  if [[ $window =~ ^(.*)\.([0-9]+)$ ]]; then window=${BASH_REMATCH[1]} pane=${BASH_REMATCH[2]}; fi
fi
names=''
if [[ -n $window && $window != +([0-9]) ]]; then
  names=$("${tmux[@]}" list-panes -a -F '#{pane_id} #{window_name}') || names=''
fi
while read -r pid win pan ses; do
  if [[ $target == %* ]]; then
    if [[ $pid == "$target" ]]; then found+=("$pid"); fi
    continue
  fi
  if [[ $ses != "$session" ]]; then continue; fi
  if [[ -n $pane && $pan != "$pane" ]]; then continue; fi
  if [[ -n $window && $win != "$window" ]]; then
    case $'\n'$names$'\n' in *$'\n'"$pid $window"$'\n'*) ;; *) continue ;; esac
  fi
  found+=("$pid")
done <<<"$all"
case ${#found[@]} in
  1) id_of_pane=${found[0]} ;;
  0) finish refused 78 false '' "no pane is $target" 'names must be exact: tmux list-panes -a' ;;
  *) finish refused 78 false '' "${#found[@]} panes are $target" 'name one: SESSION:WINDOW.PANE' ;;
esac
say "$target is $id_of_pane"

# One sender at a time, where the host has flock; the agent of a fleet has a lock of its own.
lock=$dir/lock${id_of_pane#%}
if command -v flock >/dev/null 2>&1 && exec 9>"$lock"; then
  if ! flock -w "$wait" 9; then busy 'others send to this pane all the time'; fi
fi
# Whoever had the pane until now may have typed this very message.
pending=''
known
if [[ -n $pending ]]; then refuse 'it did not say how it ended'; fi

state=$("${tmux[@]}" display-message -p -t "$id_of_pane" '#{pane_dead} #{pane_in_mode} #{pane_input_off} #{pane_current_command}') ||
  refuse "the pane $id_of_pane is gone"
read -r dead mode off program <<<"$state"
if [[ $dead != 0 ]]; then refuse "the program of pane $id_of_pane has ended"; fi
if [[ $off == 1 ]]; then refuse "pane $id_of_pane takes no input"; fi
if [[ $mode != 0 ]]; then busy "pane $id_of_pane is in a mode of tmux" 'leave it there with q'; fi
agent=$("${tmux[@]}" display-message -p -t "$id_of_pane" '#{@mosaic_agent}') || agent=''
if [[ -n $agent && -z $force ]]; then
  refuse "pane $id_of_pane is the agent $agent" "send to it by name: mosaic agent send $agent"
fi
case ${program#-} in
  sh | bash | dash | ash | zsh | fish | ksh | mksh | csh | tcsh | nu | xonsh | elvish | pwsh | login | su | sudo | ssh | '')
    if [[ -z $force ]]; then
      refuse "the program in pane $id_of_pane is ${program:-not known}: never typed into a shell" 'give --force if you mean it'
    fi
    ;;
esac
say "$id_of_pane runs $program"

# flat TEXT: without blanks and the lines of boxes, which break a text up on the screen.
flat() {
  local t=${1//[[:space:]]/}
  t=${t//$'\xc2\xa0'/}
  t=${t//$'\xe2\x94\x82'/}
  t=${t//$'\xe2\x94\x83'/}
  REPLY=${t//|/}
}
# count TEXT NEEDLE
count() {
  local without=${1//"$2"/}
  REPLY=$(((${#1} - ${#without}) / ${#2}))
}
look() {
  local text
  text=$("${tmux[@]}" capture-pane -p -J -t "$id_of_pane") || return 1
  flat "$text"; seen=$REPLY
}

text=$(printf %s "$encoded" | base64 -d) || refuse 'the message came damaged'
flat "$text"; needle=$REPLY
if ((${#needle} > 32)); then needle=${needle: -32}; fi
if [[ -z $needle ]]; then refuse 'the message is empty'; fi
look || refuse "the pane $id_of_pane is gone"
count "$seen" "$needle"; before=$REPLY
collapsed=('[Pastedtext#' '[PastedContent' '[paste#' '[Pasted~' '[PastedText:')
marks=()
for mark in "${collapsed[@]}"; do count "$seen" "$mark"; marks+=("$REPLY"); done

# From here on the message may be typed: a second run with this id must not type it again.
record=$dir/$today-$id
if ! : >"$record"; then record=''; refuse "cannot write to $dir"; fi
buffer=mosaic-$id
# On the server of a fleet: not while one of mosaic's control clients begins, which tmux 3.4 to 3.6 die of
# where there is a new buffer to tell of.
exec 8</dev/null
if [[ -r $at.calls ]] && type flock >/dev/null 2>&1; then exec 8<"$at.calls"; flock -s -w 1 8; fi
if ! printf %s "$text" | "${tmux[@]}" load-buffer -b "$buffer" - 2>/dev/null; then
  refuse 'tmux does not take the message'
fi
# A paste into a dead pane ends some releases of tmux, so the question goes along with it.
done=$("${tmux[@]}" if-shell -F -t "$id_of_pane" '#{pane_dead}' \
  "delete-buffer -b $buffer ; display-message -p MOSAIC-DEAD" \
  "paste-buffer -d -p -r -b $buffer -t $id_of_pane" 2>&1) || {
  "${tmux[@]}" delete-buffer -b "$buffer" 2>/dev/null
  refuse "tmux did not paste: $done"
}
exec 8<&-
if [[ $done == *MOSAIC-DEAD* ]]; then refuse "the program of pane $id_of_pane has ended"; fi

held=''
for ((i = 0; i < 100; i++)); do
  look || finish uncertain 1 false '' "the pane $id_of_pane went away while the message was typed"
  count "$seen" "$needle"
  if ((REPLY > before)); then held='the pane showed the message'; break; fi
  for n in "${!collapsed[@]}"; do
    count "$seen" "${collapsed[n]}"
    if ((REPLY > marks[n])); then
      held='the pane showed a collapsed paste'
      needle=${collapsed[n]}
      break 2
    fi
  done
  sleep 0.05
done
if [[ -z $held ]]; then
  finish typed 1 false '' 'Enter was not pressed: the pane does not show the message' 'look at the pane: what was typed may stand in it, or a dialog took it'
fi
say "$held"
# Some agent CLIs swallow an Enter that follows the paste too closely; this was enough for all.
sleep 0.25
for ((try = 1; try <= submits; try++)); do
  look || finish uncertain 1 false '' "the pane $id_of_pane went away before Enter"
  count "$seen" "$needle"; shown=$REPLY rest=${seen##*"$needle"}
  if ((shown == 0)); then
    if ((try > 1)); then finish submitted 0 false "$held; it let it go after Enter" ''; fi
    finish typed 1 false "$held" 'Enter was not pressed: the message has gone from the pane' 'look at the pane'
  fi
  state=$("${tmux[@]}" display-message -p -t "$id_of_pane" '#{pane_dead}#{pane_in_mode} #{pane_current_command}') || state=''
  if [[ $state != "00 $program" ]]; then
    finish typed 1 false "$held" 'Enter was not pressed: another program or a mode of tmux has come up'
  fi
  say "Enter, $try of $submits"
  "${tmux[@]}" send-keys -t "$id_of_pane" Enter || finish uncertain 1 false "$held" 'whether Enter was pressed is not known'
  for ((i = 0; i < 30; i++)); do
    sleep 0.05
    look || finish uncertain 1 false "$held" "the pane $id_of_pane went away after Enter"
    count "$seen" "$needle"
    after=${seen##*"$needle"}
    # Submitted, it stands higher up, or again, or nowhere; a swallowed Enter leaves it in its place.
    if ((REPLY == 0 || REPLY > shown || ${#after} > ${#rest} + 3)); then
      finish submitted 0 false "$held; it let it go after Enter ($try)" ''
    fi
  done
done
finish typed 1 false "$held" "Enter was pressed $submits times and the message still stands where it was typed" 'look at the pane'
