"""Every word of the pages, in every language."""

import re

from tests.support.processes import PROJECT

WEB = PROJECT / "signaling" / "web"
TEXTS = WEB / "shared" / "texts.js"
# Where keys are made of a word and of what stands before it.
MADE = (
    ("panel/chain.js", r'\b(?:fact|counted)\("(\w+)"', "why.fact."),
    ("panel/chain.js", r'\bfound\([^,]+, "([\w.]+)"', "why."),
    ("system/trial.js", r'\badd\("(\w+)"', "admin.fact."),
    ("tile/tile.js", r'\b(?:named|ms)\("(\w+)"', "tile.figure."),
)


def texts() -> dict[str, dict[str, str]]:
    """Every text by language and key."""
    source = TEXTS.read_text()
    found = {}
    for language, block in re.findall(r"^  (\w\w): \{\n(.*?)^  \},$", source, re.DOTALL | re.MULTILINE):
        pairs = re.findall(r'^ +"([\w.]+)": "((?:[^"\\]|\\.)*)",$', block, re.MULTILINE)
        assert len(pairs) == len(dict(pairs)) == len(re.findall(r'^ +"', block, re.MULTILINE))
        found[language] = dict(pairs)
    return found


def sources() -> dict[str, str]:
    """Pages and modules by path, without the texts."""
    files = [file for file in WEB.rglob("*") if file.suffix in (".js", ".html") and file != TEXTS]
    return {file.relative_to(WEB).as_posix(): file.read_text() for file in files}


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
    kinds_of_key = "|".join({key.partition(".")[0] for key in known})
    for path, source in sources().items():
        named = set(re.findall(r'data-(?:text|label|title)="([\w.]+)"', source))
        if path.endswith(".js"):
            named |= set(re.findall(r'\bt\("([^"]+)"', source))
            spoken = set(re.findall(rf'"((?:{kinds_of_key})\.\w[\w.]*)"', source))
            named |= {key for key in spoken if not any(other.startswith(f"{key}.") for other in known)}
        for maker, words, before in MADE:
            if maker == path:
                made = set(re.findall(words, source))
                assert len(made) >= 3 and {f"{before}{word}" for word in made} <= known, path
                named -= made
        assert named <= known, path
    kinds = set(re.findall(r'(?:return |: |\? )"([a-z]+)"', (WEB / "tile" / "verdict.js").read_text()))
    assert {"offline", "away", "gone", "waking", "login", "full", "unsupported", "frozen"} <= kinds
    for kind in kinds:
        assert f"verdict.{kind}.title" in known
    states = re.findall(
        r"^  (\w+): \"(?:good|wait|bad)\"", (WEB / "shared" / "format.js").read_text(), re.MULTILINE
    )
    assert len(states) == 7
    assert {f"camera.{state}" for state in states} <= known


def test_every_text_is_asked_for() -> None:
    """Also by keys that are put together: each part has to stand somewhere as a word of the page's own."""
    files = sources()
    code = "\n".join(source for path, source in files.items() if path.endswith(".js"))
    pages = "\n".join(source for path, source in files.items() if path.endswith(".html"))
    words = re.findall(r"""["'`]([\w.-]+)["'`]|\b(\w+)(?=:)""", code)
    literal = {word for pair in words for word in pair if word}
    literal |= set(re.findall(r'data-(?:text|label|title)="([\w.]+)"', pages))
    patterns = []
    for template in set(re.findall(r"`((?:[\w.]|\$\{[^`{}]*\})+)`", code)):
        fixed = re.split(r"\$\{[^}]*\}", template)
        if len(fixed) > 1 and re.search("[a-z]", "".join(fixed)):
            patterns.append(re.compile("(.+)".join(map(re.escape, fixed))))

    def is_made(text: str) -> bool:
        if text in literal:
            return True
        found = [match for pattern in patterns if (match := pattern.fullmatch(text))]
        # What stands in front of everything is a key itself.
        return any(
            all(is_made(part) for part in match.groups()) and (match.start(1) > 0 or "." in match[1])
            for match in found
        )

    unused = [key for key in texts()["en"] if not is_made(key)]
    assert unused == []


def test_no_words_are_said_elsewhere() -> None:
    """In what a viewer is shown of a failure, or finds in the journal."""
    ways = (
        r"RequestFailed\(\d, ",
        r"#again\(",
        r"#note\((?:\"\w+\", )?",
        r"journal\.add\(\{[^}]*?text: ",
        r"detail \?\? ",
    )
    told = 0
    for path, source in sources().items():
        for way in ways:
            said = re.findall(rf"{way}(.)", source, re.DOTALL)
            told += len(said)
            assert not {'"', "`"} & set(said), (path, way)
    assert told > 10
