"""Program that signs a closed slice: data directory, number of the slice, file of the private key.

A node starts it at the lowest priority. Status 1 and a sentence, which never has a part of the key, where that fails.
"""

import sys
from pathlib import Path

from attestation.errors import AttestationError
from attestation.slices import sign_slice
from journal import JournalError
from replay.errors import ReplayError


def main(arguments: list[str]) -> int:
    """Sign one slice."""
    directory, number, key_file = Path(arguments[0]), int(arguments[1]), Path(arguments[2])
    try:
        sign_slice(directory, number, key_file)
    except (AttestationError, ReplayError, JournalError, OSError) as error:
        sys.stderr.write(f"{error}\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
