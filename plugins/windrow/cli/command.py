"""What the commands for a source share: arguments, errors, exit codes, and files that are written whole."""

import argparse
import json
import logging
import os
import re
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from difflib import get_close_matches
from pathlib import Path
from typing import Any, NoReturn, TextIO

from dotenv import dotenv_values

from windrow.cli.text import fit
from windrow.model.errors import BadParameter, Misconfigured, RateLimited, WindrowError

DONE, FAILED, WRONG, WAIT, INTERRUPTED = 0, 1, 2, 3, 130
"""Exit codes; see `CODES`."""
CODES = """\
exit codes:
    0  done
    1  the API does not answer, or some answers are missing or cannot be read
    2  a name, param, connection, credential or folder is wrong: correct it first
    3  the API asks to wait: run the same command again at the time that is shown
  130  interrupted by Ctrl-C"""


@dataclass(frozen=True, slots=True)
class Result:
    """What a command prints: text for people or data for programs."""

    text: str
    data: Any = field(default_factory=dict)
    code: int = DONE


class Interrupted(Exception):
    """Ctrl-C; the message says what to do."""


Command = Callable[[argparse.Namespace, Mapping[str, str]], Result]


def add(
    commands: Any, name: str, does: Command, summary: str, description: str = "", examples: str = ""
) -> argparse.ArgumentParser:
    """Add a command that needs neither Airflow nor MongoDB."""
    command: argparse.ArgumentParser = commands.add_parser(
        name,
        help=summary,
        description=f"{summary[:1].upper()}{summary[1:]}.\n\n{description}".strip(),
        epilog=f"examples:\n{examples}\n\n{CODES}" if examples else CODES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    command.add_argument("--json", action="store_true", help="print JSON for programs")
    command.add_argument("-v", "--verbose", action="store_true", help="print warnings and progress of the engine")
    command.set_defaults(local=does)
    return command


def add_source(command: argparse.ArgumentParser) -> None:
    """Add the arguments that choose a stream and what to harvest."""
    command.add_argument(
        "source", help="a file that declares a source, like dags/desk_tickets.py, or a dataset, like desk_tickets"
    )
    command.add_argument(
        "-p",
        "--param",
        action="append",
        default=[],
        metavar="NAME=VALUE",
        help="a param of the run, as in Airflow; the value may be JSON. Can be repeated",
    )
    command.add_argument(
        "--conn-id", default="", metavar="ID", help="the connection, if it is not that of the file: AIRFLOW_CONN_<ID>"
    )


def run(options: argparse.Namespace, environment: Mapping[str, str] | None, out: TextIO, err: TextIO) -> int:
    """Run a command, print its result or one line about its error, and return the exit code."""
    try:
        with _logs(err, verbose=options.verbose):
            result: Result = options.local(options, variables() if environment is None else environment)
    except RateLimited as limit:
        return _failed(
            options, out, err, WAIT, limit.what, f"Run the same command again at {limit.retry_at:%F %T} UTC."
        )
    except WindrowError as error:
        code = WRONG if isinstance(error, Misconfigured) else FAILED
        return _failed(options, out, err, code, error.what, error.advice)
    except OSError as error:
        place = f"{error.filename}: " if error.filename else ""
        return _failed(
            options, out, err, WRONG, f"{place}{error.strerror or error}.", "Check the folder and its rights."
        )
    except (KeyboardInterrupt, Interrupted) as error:
        return _failed(options, out, err, INTERRUPTED, "Interrupted.", str(error) or "Nothing was written.")
    shown = dumps(result.data) if options.json else fit(result.text.split("\n"), out.encoding or "utf-8")
    out.write(f"{shown}\n")
    out.flush()
    return result.code


@contextmanager
def _logs(err: TextIO, *, verbose: bool) -> Iterator[None]:
    """Print what the engine logs, or only its errors."""
    logger, handler = logging.getLogger("windrow"), logging.StreamHandler(err)
    before = logger.level
    logger.setLevel(logging.INFO if verbose else logging.ERROR)
    logger.addHandler(handler)
    try:
        yield
    finally:
        logger.removeHandler(handler)
        logger.setLevel(before)


def _failed(options: argparse.Namespace, out: TextIO, err: TextIO, code: int, what: str, advice: str) -> int:
    if options.json:
        out.write(f"{dumps({'error': what, 'advice': advice, 'code': code})}\n")
    else:
        err.write(f"{fit([f'Error: {what} {advice}'.replace(chr(10), ' ')], err.encoding or 'utf-8')}\n")
    return code


def variables() -> dict[str, str]:
    """Return the variables of the environment, and those of the file .env that are not in it.

    :raises BadParameter: the file cannot be read.
    """
    try:
        own = {name: value for name, value in dotenv_values(".env").items() if value is not None}
    except UnicodeDecodeError:
        raise BadParameter(".env is not a text in UTF-8.", advice="Save it in UTF-8.") from None
    return own | dict(os.environ)


def dumps(data: Any) -> str:
    """Return JSON; dates, decimals and paths are texts."""
    return json.dumps(data, indent=2, ensure_ascii=False, default=str)


class Parser(argparse.ArgumentParser):
    """Prints one line for a wrong argument, with the nearest command or option."""

    def parse_known_args(self, args: Any = None, namespace: Any = None) -> Any:
        """Parse the arguments of one command. Its own options are known here, for the nearest one."""
        found, unknown = super().parse_known_args(args, namespace)
        if unknown:
            self._refuse(f"{unknown[0]!r:.60} is unknown.", unknown[0], list(self._option_string_actions))
        return found, unknown

    def error(self, message: str) -> NoReturn:
        """Print the error, and end with 2."""
        wrong = re.search(r"invalid choice: '([^']*)' \(choose from (.*)\)", message)
        if wrong:
            self._refuse(f"{wrong[1]!r:.60} is unknown.", wrong[1], re.findall(r"[\w-]+", wrong[2]))
        self._refuse(f"{message[:1].upper()}{message[1:]}.")

    def _refuse(self, what: str, name: str = "", known: Sequence[str] = ()) -> NoReturn:
        near = get_close_matches(name, known, n=1)
        meant = f" Did you mean {near[0]!r}?" if near else ""
        self.exit(WRONG, f"Error: {what}{meant} See `{self.prog} --help`.\n")


def whole_number(least: int, most: int = sys.maxsize) -> Callable[[str], int]:
    """Make the type of an argument that is a whole number."""

    def read(text: str) -> int:
        if not text.isdecimal() or not least <= int(text) <= most:
            upper = f" to {most:,}" if most < sys.maxsize else ""
            raise argparse.ArgumentTypeError(f"{text!r:.60} must be a whole number from {least:,}{upper}")
        return int(text)

    return read


@contextmanager
def whole(path: Path) -> Iterator[Path]:
    """Write a file as a whole or not at all: write to the yielded path, which then gets its name.

    :raises OSError: the folder is not writable.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    number, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    os.close(number)
    draft = Path(name)
    try:
        yield draft
        draft.chmod(0o644)
        draft.replace(path)
    finally:
        draft.unlink(missing_ok=True)


def table(rows: Sequence[Sequence[object]], header: Sequence[str]) -> str:
    """Return rows as aligned columns of text."""
    lines = [header, *([str(cell) for cell in row] for row in rows)]
    widths = [max(len(line[place]) for line in lines) for place in range(len(header))]
    padded = ("  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)) for line in lines)
    return "\n".join(line.rstrip() for line in padded)


def is_terminal() -> bool:
    """Return whether a person sees the progress."""
    return sys.stderr.isatty()
