"""A group of commands whose first command need not be named."""

from __future__ import annotations

from typing import Any

from typer.core import TyperGroup

HELP = ("-h", "--help")


class ShorthandGroup(TyperGroup):
    """``semtb air FILE`` means ``semtb air serve FILE``: what names no command is handed to the first one."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """See click: the arguments behind the group's name."""
        if args and args[0] not in (*self.commands, *HELP):
            args = [next(iter(self.commands)), *args]
        return super().parse_args(ctx, args)
