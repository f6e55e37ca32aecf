"""What `pyproject.toml` cannot say: instances inside the wheel, and a README without a clone."""

from __future__ import annotations

import re
import shutil
import tomllib
from pathlib import Path

from setuptools import setup
from setuptools.command.build_py import build_py

ROOT = Path(__file__).parent
INSTANCES = ROOT / "instances"
_LINK = re.compile(r"(!?)\[([^\]]*)\]\((?!\w+:|#)([^)]*)\)")


class BuildWithInstances(build_py):
    """Copies the shipped documents to where `scope_opt.model.shipped` looks for them."""

    def run(self) -> None:
        """Build, then copy; an editable installation finds them in the clone."""
        super().run()
        if not self.editable_mode:
            for source, target in self._documents().items():
                Path(target).parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(source, target)

    def get_outputs(self, include_bytecode: bool = True) -> list[str]:
        """With the copies; setuptools asks, for its record."""
        return [*super().get_outputs(include_bytecode), *self._documents().values()]

    def _documents(self) -> dict[str, str]:
        inside = Path(self.build_lib, "scope_opt", "instances")
        files = (path for path in sorted(INSTANCES.rglob("*")) if path.suffix in (".json", ".csv"))
        return {str(path): str(inside / path.relative_to(INSTANCES)) for path in files}


def readable_anywhere(text: str, home: str | None) -> str:
    """A page whose relative links work where the files beside it are not.

    They lead to ``home``, where the project's files are shown; without one, what can be followed
    nowhere is no link: names of files stay as text, pictures go.
    """

    def replaced(link: re.Match[str]) -> str:
        picture, text, target = link.groups()
        if home is not None:
            folder = "raw" if picture else "blob"
            return f"{picture}[{text}]({home.rstrip('/')}/{folder}/main/{target})"
        if picture:
            return ""
        file = target.partition("#")[0]
        return text if text == file else f"{text} (`{file}`)"

    return _LINK.sub(replaced, text)


if __name__ == "__main__":
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    setup(
        cmdclass={"build_py": BuildWithInstances},
        long_description=readable_anywhere(
            (ROOT / "README.md").read_text("utf-8"), project.get("urls", {}).get("Repository")
        ),
        long_description_content_type="text/markdown",
    )
