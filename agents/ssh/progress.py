"""How far one reset has come, over as many connections as it takes to hear its end."""

from typing import Any

from agents.ssh.answers import judge_end

LAST_SEQ = 999_999


class Progress:
    """What was heard of one reset. The laptop numbers what it tells, so nothing is heard twice."""

    def __init__(self, reset_id: str) -> None:
        self.reset_id = reset_id
        self.seq = 0
        """The last number heard: a new connection asks for what comes after it."""
        self.begun = False
        """The job was sent: the laptop may have done something."""
        self.ended = False
        self.lost = False
        """The laptop works on it no longer, or never heard of it: it must be ordered once more."""

    def hear(self, event: dict[str, Any]) -> bool:
        """Whether this was a good end. Raises what a bad end means."""
        kind, seq = event.get("event"), event.get("seq")
        if kind == "end":
            self.ended = True
            judge_end(event, self.reset_id)
            return True
        if kind in ("interrupted", "unknown_reset"):
            self.lost = True
        elif isinstance(seq, int) and self.seq < seq <= LAST_SEQ:
            self.seq = seq
        return False
