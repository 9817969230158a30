"""Passwords of users: what is kept of one, and what may be one."""

import hashlib
from math import log2

import pytest

from engine.names import pack
from engine.records import COMMAND_FIELDS, CommandKind
from gateway.logins import COST_QUICK
from gateway.passwords import (
    COST_DEFAULT,
    COST_GENERATED,
    GENERATED_CHARACTERS,
    PasswordError,
    credential_row,
    generated,
    hash_password,
    normalised,
    salt_and_hash,
    verify,
)


def test_a_row_has_what_a_credential_has_and_nothing_else() -> None:
    row = credential_row("trader", "secret", 4)[0]
    assert (int(row["kind"]), int(row["name"]), int(row["cost"])) == (CommandKind.CREDENTIAL, pack("TRADER"), 4)
    bare = row.copy()
    for place in ("kind", *COMMAND_FIELDS[CommandKind.CREDENTIAL]):
        bare[place] = 0
    assert bare.tobytes() == bytes(64)


def test_the_hash_is_scrypt_as_everybody_computes_it_over_the_password_in_capitals() -> None:
    salt = bytes(range(16))
    assert hash_password("Secret1!", salt, 5) == hashlib.scrypt(b"SECRET1!", salt=salt, n=32, r=8, p=1, dklen=24)
    assert salt_and_hash(credential_row("A", "x", 4)[0])[1] != hash_password("x", salt, 4)


@pytest.mark.slow
@pytest.mark.parametrize("cost", [4, 14, 17])
def test_every_cost_finds_the_memory_it_needs(cost: int) -> None:
    row = credential_row("TRADER", "secret", cost)[0]
    assert verify("SECRET", *salt_and_hash(row), cost)
    assert not verify("SECRES", *salt_and_hash(row), cost)


def test_a_password_set_twice_has_another_salt_each_time() -> None:
    first, second = (credential_row("TRADER", "same", 4) for _ in range(2))
    assert first.tobytes() != second.tobytes()
    assert all(verify("SAME", *salt_and_hash(row[0]), 4) for row in (first, second))


def test_passwords_costs_salts_and_users_are_checked() -> None:
    assert normalised("!~aZ09") == b"!~AZ09"
    for cost in (3, 21):
        with pytest.raises(PasswordError, match="the cost is"):
            hash_password("secret", bytes(16), cost)
    with pytest.raises(PasswordError, match="the salt has 15 bytes"):
        hash_password("secret", bytes(15), 4)
    for user in ("", "SEVENCH", "A B", "Ü"):
        with pytest.raises(PasswordError, match="the user is"):
            credential_row(user, "secret", 4)
    assert not verify("eleven chars", bytes(16), bytes(24), 4)


def test_a_generated_password_has_more_than_128_bits_and_is_checked_at_once() -> None:
    drawn = {generated() for _ in range(1_000)}
    assert len(drawn) == 1_000
    characters = set("".join(drawn))
    assert {len(each) for each in drawn} == {GENERATED_CHARACTERS}
    assert GENERATED_CHARACTERS * log2(len(characters)) >= 128
    assert COST_GENERATED <= COST_QUICK < COST_DEFAULT
    password = drawn.pop()
    salt, expected = salt_and_hash(credential_row("TRADER", password, COST_GENERATED)[0])
    assert verify(password, salt, expected, COST_GENERATED)
    assert not verify(password.upper(), salt, expected, COST_GENERATED), "nothing is folded"
