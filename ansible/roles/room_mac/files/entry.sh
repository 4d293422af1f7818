#!/bin/sh
# The forced command: the agent's key can ask how this Mac is, and nothing else.
case "${SSH_ORIGINAL_COMMAND:-}" in
  health) exec "$(dirname "$0")/health.sh" ;;
  *)
    printf '{"event":"end","result":"refused","reason":"bad_request"}\n'
    exit 64
    ;;
esac
