#!/bin/sh
# How this Mac is: one look, one JSON object, names and units as the agent's facts.
# What cannot be told is null, never zero. Only what macOS ships is used: no Python there.
set -u
export LC_ALL=C PATH="${RAUMWART_PATH:-/usr/sbin:/usr/bin:/sbin:/bin}"

# limited SECONDS COMMAND …: what it printed; nothing when it fails or takes too long.
limited() {
  limit=$1
  shift
  out=$(mktemp "${TMPDIR:-/tmp}/raumwart.XXXXXX") || return 0
  "$@" >"$out" 2>/dev/null </dev/null &
  child=$!
  # The watcher holds no pipe of ours open, or whoever reads our answer would wait for it.
  (sleep "$limit" && kill -9 "$child") >/dev/null 2>&1 </dev/null &
  watcher=$!
  if wait "$child" 2>/dev/null; then head -c 20000 "$out"; fi
  kill "$watcher" 2>/dev/null
  wait "$watcher" 2>/dev/null
  rm -f "$out"
}

first=1
put() { # NAME JSON: empty is null
  [ "$first" = 1 ] || printf ','
  first=0
  printf '"%s":%s' "$1" "${2:-null}"
}

text() { # a JSON string of plain ASCII, which all these names are; or nothing
  printf '%s' "$1" | tr -cd '\040-\176' | head -c 200 |
    sed -e 's/\\/\\\\/g' -e 's/"/\\"/g' -e 's/.*/"&"/'
}

number() { # the text, if it is a plain number
  printf '%s' "$1" | awk '/^[0-9]+([.][0-9]+)?$/ { printf "%s", $0 }'
}

value_of() { # KEY TEXT: the value of `"Key" = value` in what ioreg printed
  printf '%s\n' "$2" | sed -n "s/^[^\"]*\"$1\" = \"\{0,1\}\([^\"]*\)\"\{0,1\} *\$/\1/p" | head -n 1
}

now=$(date +%s)
boot=$(limited 3 sysctl -n kern.boottime | sed -n 's/^{ sec = \([0-9]*\),.*/\1/p')
cores=$(number "$(limited 3 sysctl -n hw.ncpu)")
total=$(number "$(limited 3 sysctl -n hw.memsize)")
platform=$(limited 5 ioreg -rd1 -c IOPlatformExpertDevice)
battery=$(limited 5 ioreg -rn AppleSmartBattery)
charge=$(limited 5 pmset -g batt)

printf '{'
put v 1
put vendor '"Apple"'
put model "$(text "$(limited 3 sysctl -n hw.model)")"
put serial "$(text "$(value_of IOPlatformSerialNumber "$platform")")"
put name "$(text "$(limited 3 scutil --get LocalHostName)")"
put firmware "$(text "macOS $(limited 3 sw_vers -productVersion)")"
put uptime_s "$(awk -v now="$now" -v boot="${boot:-}" 'BEGIN { if (boot != "" && now >= boot) print now - boot }')"
put load_1m "$(limited 3 sysctl -n vm.loadavg | awk -v n="${cores:-0}" '{ if (n > 0 && NF > 3) printf "%.3f", $2 / n }')"
put memory_total_bytes "$total"
put memory_ratio "$(limited 5 vm_stat | awk -v total="${total:-0}" '
  /page size of/ { for (i = 1; i < NF; i++) if ($i == "of") size = $(i + 1) }
  /^Pages (free|inactive|speculative|purgeable)/ { gsub(/[.]/, "", $NF); spare += $NF }
  END { if (total > 0 && size > 0 && spare * size <= total) printf "%.4f", 1 - spare * size / total }')"

# The volume with people's data; on an older system it is the root itself.
disk=$(limited 5 df -kP /System/Volumes/Data)
[ -n "$disk" ] || disk=$(limited 5 df -kP /)
put disk_free_bytes "$(printf '%s\n' "$disk" | awk 'NR == 2 && $4 ~ /^[0-9]+$/ { printf "%.0f", $4 * 1024 }')"
put disk_ratio "$(printf '%s\n' "$disk" | awk 'NR == 2 && $3 + $4 > 0 { printf "%.4f", $3 / ($3 + $4) }')"
put disk_healthy "$(limited 8 diskutil info disk0 | awk -F: '
  /SMART Status/ { gsub(/^ +| +$/, "", $2); if ($2 == "Verified") print "true"; if ($2 == "Failing") print "false" }')"

put battery_ratio "$(printf '%s\n' "$charge" | awk 'match($0, /[0-9]+%;/) { printf "%.2f", substr($0, RSTART, RLENGTH - 2) / 100; exit }')"
put plugged "$(printf '%s\n' "$charge" | awk "/drawing from 'AC Power'/ { print \"true\" } /drawing from 'Battery Power'/ { print \"false\" }")"
put battery_wear_ratio "$(awk -v full="$(value_of AppleRawMaxCapacity "$battery")" -v new="$(value_of DesignCapacity "$battery")" '
  BEGIN { if (full > 0 && new > 0) printf "%.3f", full < new ? 1 - full / new : 0 }')"

put sessions "$(limited 5 who | awk '$2 == "console" { n++ } END { print n + 0 }')"
put failed_units "$(limited 5 launchctl list | awk 'NR > 1 { seen = 1; if ($2 ~ /^[1-9][0-9]*$/) n++ } END { if (seen) print n + 0 }')"
put updates "$(number "$(limited 5 defaults read /Library/Preferences/com.apple.SoftwareUpdate LastUpdatesAvailable)")"
put wifi_dbm "$(limited 8 wdutil info | awk -F: '/^ *RSSI/ { gsub(/[^-0-9]/, "", $2); if ($2 ~ /^-[0-9]+$/) { print $2; exit } }')"
put now "$now"
printf '}\n'
