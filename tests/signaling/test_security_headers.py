"""Every answer carries the headers, and none invites a browser to more."""

from multidict import CIMultiDict

from signaling import security_headers


def test_they_are_added_but_not_changed() -> None:
    headers = CIMultiDict({"Cache-Control": "no-cache"})
    security_headers.add(headers, strict=False)
    assert headers["Cache-Control"] == "no-cache"
    assert headers.keys() >= security_headers.HEADERS.keys()
    assert "Strict-Transport-Security" not in headers


def test_the_policy_is_strict() -> None:
    policy = security_headers.HEADERS["Content-Security-Policy"]
    assert "default-src 'self'" in policy and "unsafe" not in policy and "*" not in policy
    assert policy.endswith("frame-ancestors 'none'")


def test_a_page_that_may_be_framed_says_by_whom_and_is_as_strict_otherwise() -> None:
    policy = security_headers.policy(["https://a.example", "http://b.example:81"])
    usual = security_headers.HEADERS["Content-Security-Policy"]
    assert policy == usual.removesuffix("'none'") + "'self' https://a.example http://b.example:81"
    headers = CIMultiDict({"Content-Security-Policy": policy})
    security_headers.add(headers, strict=False)
    assert headers["Content-Security-Policy"] == policy
    assert security_headers.HEADERS.keys() - headers.keys() == {"X-Frame-Options"}


def test_browsers_insist_on_tls_only_where_it_is_trusted() -> None:
    headers = CIMultiDict[str]()
    security_headers.add(headers, strict=True)
    assert headers["Strict-Transport-Security"].startswith("max-age=")
