"""How commands end that do not succeed: one message, an exit code, and a traceback on demand."""

from __future__ import annotations

import pytest
import typer

from yggdrasil.cli import app as commands
from yggdrasil.core.errors import InputError


@pytest.fixture
def failing(monkeypatch):
    """Gives a function that has `templates` raise an error."""

    def fail(error):
        def templates() -> None:
            raise error

        monkeypatch.setattr(commands.app, "registered_commands", [])
        commands.app.command("templates")(templates)
        commands.app.command("other")(lambda: None)

    return fail


def test_a_refusal_is_a_message_alone(yggdrasil, failing):
    failing(InputError("spoilt [bold]value"))
    ended = yggdrasil("templates")
    assert (ended.code, ended.out) == (1, "")
    assert ended.err == "InputError: spoilt [bold]value\n"


def test_notes_of_an_error_are_told(yggdrasil, failing):
    error = InputError("spoilt")
    error.add_note("At a.b of 'graph'.")
    failing(error)
    assert yggdrasil("templates").err == "InputError: spoilt\n  At a.b of 'graph'.\n"


def test_what_nobody_foresaw_is_a_message_too_and_says_how_to_see_more(yggdrasil, failing):
    failing(RuntimeError("spoilt [bold]value"))
    ended = yggdrasil("templates")
    assert (ended.code, ended.out) == (1, "")
    assert ended.err == (
        "RuntimeError: spoilt [bold]value\n"
        "  Run it again with --debug to see where this happened.\n"
    )


@pytest.mark.parametrize("arguments", [("--debug", "templates"), ("templates", "--debug")])
@pytest.mark.parametrize("error", [InputError("spoilt"), RuntimeError("spoilt")])
def test_debug_lets_the_error_through(yggdrasil, failing, arguments, error):
    failing(error)
    with pytest.raises(type(error), match="spoilt"):
        yggdrasil(*arguments)


def test_debug_after_two_dashes_is_no_option(yggdrasil):
    ended = yggdrasil("blocks", "--", "--debug")
    assert ended.code == 1
    assert "No block of type '--debug'" in ended.err


@pytest.mark.parametrize(("code", "wanted"), [(0, 0), (3, 3)])
def test_a_command_may_choose_its_exit_code(yggdrasil, failing, code, wanted):
    failing(typer.Exit(code))
    assert yggdrasil("templates").code == wanted


def test_ctrl_c_is_exit_code_130(yggdrasil, failing):
    failing(KeyboardInterrupt())
    ended = yggdrasil("templates")
    assert (ended.code, ended.out, ended.err) == (130, "", "Interrupted.\n")


def test_the_version(yggdrasil):
    from yggdrasil import __version__

    assert yggdrasil("--version").out == f"yggdrasil {__version__}\n"


@pytest.mark.parametrize("command", ["generate", "blocks", "graph", "info", "templates", "train"])
def test_every_command_has_help(yggdrasil, command):
    ended = yggdrasil(command, "--help")
    assert (ended.code, ended.err) == (0, "")
    assert f"Usage: yggdrasil {command}" in ended.out
