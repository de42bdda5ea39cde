"""`setpoint completion`: what shells ask while a person types."""

from __future__ import annotations

import signal
from contextlib import suppress
from typing import TYPE_CHECKING, Annotated

import typer

from controller.cli import names
from controller.cli.errors import CliError, Exit
from controller.cli.options import Output, connect
from controller.cli.target import find_config

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from types import FrameType

    from typer._click import Command

ANSWER_SECONDS = 1.0
"""How long a person who has pressed Tab waits for names of objects."""
MAX_NAMES = 200
_ONE_KIND = {"trigger": "dags", "graph": "dags", "rerun": "dagruns", "clear": "dagruns", "cancel": "dagruns"}
_OBJECTS = {"get", "describe", "explain", "logs", "retry", "pause", "resume", "delete", "wait", *_ONE_KIND}

_BASH = """\
# To load it now: source <(setpoint completion bash)
# For good: setpoint completion bash > ~/.local/share/bash-completion/completions/setpoint
_setpoint() {
    local IFS=$'\\n'
    COMPREPLY=($(setpoint completion words -- "${COMP_WORDS[@]:1:COMP_CWORD}" 2>/dev/null))
    if [[ ${#COMPREPLY[@]} == 1 && ${COMPREPLY[0]} == */ ]]; then compopt -o nospace; fi
}
complete -F _setpoint setpoint"""

_ZSH = """\
#compdef setpoint
# To load it now: source <(setpoint completion zsh)
# For good: setpoint completion zsh > "${fpath[1]}/_setpoint"
_setpoint() {
    local -a found
    found=("${(@f)$(setpoint completion words -- "${(@)words[2,CURRENT]}" 2>/dev/null)}")
    compadd -- $found
}
compdef _setpoint setpoint"""

_FISH = """\
# To load it now: setpoint completion fish | source
# For good: setpoint completion fish > ~/.config/fish/completions/setpoint.fish
complete -c setpoint -f -a '(setpoint completion words -- (commandline -opc)[2..-1] (commandline -ct))'"""

_SCRIPTS = {"bash": _BASH, "zsh": _ZSH, "fish": _FISH}


def completion(
    shell: Annotated[str, typer.Argument(metavar="bash|zsh|fish", help="The shell.")],
    words: Annotated[list[str] | None, typer.Argument(hidden=True)] = None,
) -> None:
    """Print what lets a shell complete commands, options, kinds and names."""
    if shell == "words":
        print("\n".join(candidates(words or [""])))
        return
    if shell not in _SCRIPTS:
        raise CliError(f"completion knows {', '.join(_SCRIPTS)}, not {shell!r}", Exit.USAGE)
    print(_SCRIPTS[shell])


def candidates(words: Sequence[str]) -> list[str]:
    """Return what the last word may become."""
    *before, current = words
    return sorted({word for word in _candidates(before, current) if word.startswith(current)})


def _candidates(before: list[str], current: str) -> Iterator[str]:
    from controller.cli.main import COMMANDS, Group, command_of  # noqa: PLC0415 - it is what called this module

    if before and before[-1] in {"-o", "--output"}:
        yield from Output
        return
    if before and before[-1] == "--context":
        config = find_config()
        yield from config.contexts if config else ()
        return
    called = [word for word in before if not word.startswith("-")]
    if not called:
        yield from COMMANDS if not current.startswith("-") else ("--context", "--namespace", "--output", "--help")
        return
    entry = COMMANDS.get(called[0])
    if isinstance(entry, Group):
        if len(called) == 1:
            yield from entry.commands
        return
    if entry is None:
        return
    if current.startswith("-"):
        yield from _options(command_of(called[0], entry))
    elif called[0] in _OBJECTS:
        yield from _objects(called, current)


def _options(command: Command) -> Iterator[str]:
    for param in command.params:
        yield from (option for option in param.opts if option.startswith("--"))
    yield "--help"


def _objects(called: list[str], current: str) -> Iterator[str]:
    """Yield kinds, then names: those that `kind/` begins, or those behind a kind."""
    if one := _ONE_KIND.get(called[0]):
        yield from _names(one)
    word, slash, _ = current.partition("/")
    if slash and word in names.WORDS:
        yield from (f"{word}/{name}" for name in _names(names.WORDS[word]))
    elif len(called) > 1 and called[1] in names.WORDS:
        yield from _names(names.WORDS[called[1]])
    elif called[0] == "get":
        yield from ("all", *(f"{short}s" for short in names.SHORT.values()))
    else:
        yield from (f"{short}/" for short in names.SHORT.values())


def _names(plural: str) -> list[str]:
    """Return names of objects; none if nobody answers within a second."""

    def ring(_number: int, _frame: FrameType | None) -> None:
        raise TimeoutError

    before = signal.signal(signal.SIGALRM, ring)
    signal.setitimer(signal.ITIMER_REAL, ANSWER_SECONDS)
    try:
        with suppress(CliError, OSError, KeyError, TypeError):
            client = connect(None)
            return [str(item["metadata"]["name"]) for item in client.get(plural, limit=MAX_NAMES)["items"]]
        return []
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
