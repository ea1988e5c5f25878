"""Every word of the pages, in every language."""

import re

from tests.support.processes import PROJECT

WEB = PROJECT / "signaling" / "web"


def texts() -> dict[str, dict[str, str]]:
    """Every text by language and key."""
    source = (WEB / "shared" / "texts.js").read_text()
    found = {}
    for language, block in re.findall(r"^  (\w\w): \{\n(.*?)^  \},$", source, re.DOTALL | re.MULTILINE):
        pairs = re.findall(r'^ +"([\w.]+)": "((?:[^"\\]|\\.)*)",$', block, re.MULTILINE)
        assert len(pairs) == len(dict(pairs)) == len(re.findall(r'^ +"', block, re.MULTILINE))
        found[language] = dict(pairs)
    return found


def test_every_text_is_there_in_each_language() -> None:
    found = texts()
    assert set(found) == {"en", "ko"}
    assert found["en"].keys() == found["ko"].keys()
    for key, words in found["en"].items():
        placeholders = [set(re.findall(r"\{(\w+)\}", each)) for each in (words, found["ko"][key])]
        assert placeholders[1] <= placeholders[0], key
        assert words.strip() and found["ko"][key].strip(), key


def test_every_text_that_is_asked_for_is_there() -> None:
    known = texts()["en"].keys()
    asked = set()
    for file in WEB.rglob("*"):
        if file.suffix in (".js", ".html"):
            asked |= set(
                re.findall(r"\bt\(\"([\w.]+)\"|data-(?:text|label|title)=\"([\w.]+)\"", file.read_text())
            )
    named = {key for pair in asked for key in pair if key}
    assert len(named) > 100
    assert named <= known
    kinds = set(re.findall(r'(?:return |: |\? )"([a-z]+)"', (WEB / "tile" / "verdict.js").read_text()))
    assert {"offline", "away", "gone", "waking", "login", "full", "unsupported", "frozen"} <= kinds
    for kind in kinds:
        assert f"verdict.{kind}.title" in known
    states = re.findall(
        r"^  (\w+): \"(?:good|wait|bad)\"", (WEB / "shared" / "format.js").read_text(), re.MULTILINE
    )
    assert len(states) == 7
    assert {f"camera.{state}" for state in states} <= known
