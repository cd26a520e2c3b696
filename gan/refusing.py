"""Command lines that are refused in one line."""

import sys
from typing import TYPE_CHECKING, NoReturn

if TYPE_CHECKING:
    from jsonargparse import ArgumentParser as _Parser
else:
    _Parser = object


class Refusing(_Parser):
    """Of one of jsonargparse's parsers: says what is wrong in one line, without the pages of usage before it."""

    def error(self, message: str, ex: Exception | None = None) -> NoReturn:
        """Exit with 2."""
        if not self.exit_on_error:
            # The parser of a part, whose errors the whole one's become.
            super().error(message, ex)
        program = self.prog.removeprefix("python ")
        print(f"{program}: {' '.join(message.split())}; `{self.prog} --help` lists the options", file=sys.stderr)
        sys.exit(2)
