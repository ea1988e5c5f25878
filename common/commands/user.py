"""`cctv3 user`: the users of a configuration file, with or without a running system, which follows the file.

Passwords are kept as argon2 hashes (RFC 9106) and never asked for on the command line, where others see them.
"""

import argparse
import getpass
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from argon2 import PasswordHasher

from common.access_config import ROLES, UserConfig
from common.errors import CctvError, ConfigError, LocalError
from common.lifecycle import EXIT_CONFIG, EXIT_FAILED
from common.supervision import DEFAULT_CONFIG

EXIT_INTERRUPTED = 130
MAX_PASSWORD = 1024
"Characters; a login with more is not looked at."


def ask_password(from_stdin: bool) -> str:
    """A new password: the first line of stdin, or typed twice on the terminal. Raises LocalError."""
    if from_stdin:
        password = sys.stdin.readline().rstrip("\r\n")
    elif sys.stdin.isatty():
        password = getpass.getpass("Password: ")
        if getpass.getpass("Once more: ") != password:
            raise LocalError("the two are not the same; nothing was written")
    else:
        raise LocalError("there is no terminal to ask on; give the password with --password-stdin")
    if not password:
        raise LocalError("the password is empty; nothing was written")
    if len(password) > MAX_PASSWORD:
        raise LocalError(f"the password has {len(password)} characters, at most {MAX_PASSWORD} are taken")
    return password


def hash_password(password: str) -> str:
    """In PHC form, as the configuration has it; takes some tens of milliseconds and 64 MiB."""
    return PasswordHasher().hash(password)


def _add(options: argparse.Namespace) -> None:
    from common import config
    from common.keeper import editing  # a hash is had without them

    path = _existing(options.config)
    password = hash_password(ask_password(options.password_stdin))
    before = editing.entry_of(config.load(path), "user", options.name)
    known = before if isinstance(before, UserConfig) else UserConfig(options.name)
    content: dict[str, Any] = {
        "role": options.role or known.role,
        "cameras": options.camera or list(known.cameras),
        "password": password,
    }
    editing.put_entry(path, "user", options.name, content)
    print(f"{options.name} may log in as {content['role']}: {path}; a running system takes it at once")


def _remove(options: argparse.Namespace) -> None:
    from common.keeper import editing

    path = _existing(options.config)
    editing.put_entry(path, "user", options.name, None)
    print(f"{options.name} is no user any more: {path}; a running system ends what they watch")


def _hash(options: argparse.Namespace) -> None:
    print(hash_password(ask_password(options.password_stdin)))


def _existing(path: Path) -> Path:
    if not path.exists():
        raise ConfigError(
            f"{path}: there is no such file; write one after deploy/config.example.yaml, "
            "or name yours with --config"
        )
    return path


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="cctv3 user", description="Who may log in.")
    actions = parser.add_subparsers(required=True, metavar="add|remove|hash")
    add = actions.add_parser("add", help="write a user, or another password, role or cameras for one")
    add.set_defaults(action=_add)
    add.add_argument("name")
    add.add_argument("--role", choices=ROLES, help="default: viewer for a new user, else as it is")
    add.add_argument(
        "--camera",
        action="append",
        metavar="PATTERN",
        help="may see cameras whose names fit, e.g. 'front*'; may be given several times; default: all for a "
        "new user, else as they are",
    )
    remove = actions.add_parser("remove", help="take a user out")
    remove.set_defaults(action=_remove)
    remove.add_argument("name")
    hashing = actions.add_parser("hash", help="print the hash of a password, for the configuration")
    hashing.set_defaults(action=_hash)
    for each in (add, hashing):
        each.add_argument("--password-stdin", action="store_true", help="the first line of stdin, not asked")
    for each in (add, remove):
        each.add_argument("--config", type=Path, default=DEFAULT_CONFIG, help=f"default: {DEFAULT_CONFIG}")
    return parser


def main(arguments: Sequence[str] | None = None) -> int:
    """Gives the exit status."""
    options = _parser().parse_args(arguments)
    try:
        options.action(options)
    except ConfigError as exc:
        print(exc, file=sys.stderr)
        return EXIT_CONFIG
    except CctvError as exc:
        print(exc, file=sys.stderr)
        return EXIT_FAILED
    except (KeyboardInterrupt, EOFError):
        print("\nnothing was written", file=sys.stderr)
        return EXIT_INTERRUPTED
    return 0


if __name__ == "__main__":
    sys.exit(main())
