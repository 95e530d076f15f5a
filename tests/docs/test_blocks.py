"""How commands are found in Markdown, so that none escapes."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.docs.blocks import blocks, inline, strays

PAGE = """# A page

    python -m sweeper run indented.yaml

```sh
python -m sweeper run a.yaml   # a comment
# only a comment
python -m sweeper run \\
    b.yaml
cat > c.yaml <<'END'
name: c
END
```

<!-- test: skip, a server that never ends -->
```sh
python -m sweeper ui
```

<!-- test: with --trials 20 -->
```sh
python -m sweeper run d.yaml
```

```console
$ pip install x
```

Text with `python -m simulator run e`.
"""


def test_all_are_found(tmp_path: Path) -> None:
    path = tmp_path / "page.md"
    path.write_text(PAGE)
    first, second, third = blocks(path)
    assert [" ".join(c.split()) for c in first.commands] == [
        "python -m sweeper run a.yaml", "python -m sweeper run b.yaml", "cat > c.yaml <<'END' name: c END"]
    assert second.skip == "a server that never ends" and third.extra == ("--trials", "20")
    assert [stray.partition(": ")[2] for stray in strays(path)] == ["python -m sweeper run indented.yaml", "$ pip install x"]
    assert inline(path) == ["python -m simulator run e"]


@pytest.mark.parametrize("marker", ["<!-- test: skip -->", "<!-- test: skip, no -->", "<!-- test: later -->"])
def test_a_marker_needs_a_reason(tmp_path: Path, marker: str) -> None:
    path = tmp_path / "page.md"
    path.write_text(f"{marker}\n```sh\nfalse\n```\n")
    with pytest.raises(AssertionError, match="is no marker"):
        blocks(path)
