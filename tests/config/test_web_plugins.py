"""``c['www']['plugins']``: badges, and dashboards of one's own."""

import pytest

from buildwright.model.dashboards import Dashboard
from tests.config.support import WHOLE, Site

APP = "def app(environ, start_response):\n    start_response('200 OK', [])\n    return [b'']\n"


def test_badges_and_dashboards_are_taken(site: Site) -> None:
    found = site.load(
        f"""{WHOLE}{APP}
c['www'] = {{'port': 8010, 'plugins': {{
    'badges': {{'left_text': 'nightly', 'style': 'flat', 'color_scheme': {{'success': 'green'}}}},
    'wsgi_dashboards': [
        {{'name': 'last', 'app': app, 'order': 9}},
        {{'name': 'first', 'caption': 'The first', 'app': app, 'order': 1, 'icon': 'rocket'}},
    ],
}}}}
"""
    ).www
    assert found.badges == {"left_text": "nightly", "style": "flat", "color_scheme": {"success": "green"}}
    first, last = found.dashboards
    assert first == Dashboard("first", "The first", first.app, 1, "rocket")
    assert (last.name, last.caption, last.order, last.icon) == ("last", "last", 9, "")


@pytest.mark.parametrize(
    ("plugins", "said"),
    [
        ("[]", "c['www']['plugins'] must be a dict of plugins to their options, not list"),
        ("{'badges': 'flat'}", "c['www']['plugins']['badges'] must be a dict of options, or True"),
        ("{'badges': {'colour': 1}}", "unknown key c['www']['plugins']['badges']['colour']"),
        ("{'badges': {'style': 'round'}}", "['style'] must be one of flat, flat_square, plastic"),
        ("{'badges': {'left_color': 'url(x)'}}", "['left_color'] must be a colour, such as"),
        ("{'badges': {'color_scheme': {'good': 'red'}}}", "['color_scheme'] has no state 'good'"),
        ("{'badges': {'color_scheme': {'success': '\"'}}}", "['color_scheme'] must be a colour"),
        ("{'badges': {'font_size': 500}}", "['font_size'] must be a number from 0 to 40"),
        ("{'wsgi_dashboards': app}", "['wsgi_dashboards'] must be a list of dicts"),
        ("{'wsgi_dashboards': [app]}", "['wsgi_dashboards'][0] must be a dict, not"),
        ("{'wsgi_dashboards': [{'name': 'a/b', 'app': app}]}", "[0]['name'] must be made of letters"),
        ("{'wsgi_dashboards': [{'name': 'a', 'app': 'x'}]}", "[0]['app'] must be a WSGI application"),
        ("{'wsgi_dashboards': [{'name': 'a', 'app': app, 'url': 'x'}]}", "unknown key c['www']['plugins']"),
        ("{'wsgi_dashboards': [{'name': 'a', 'app': app, 'order': '1'}]}", "[0]['order'] must be a number"),
        ("{'wsgi_dashboards': [{'name': 'a', 'app': app}] * 2}", "two dashboards with the name 'a'"),
    ],
)
def test_what_is_wrong_is_said(plugins: str, said: str, site: Site) -> None:
    text = f"{WHOLE}{APP}c['www'] = {{'port': 8010, 'plugins': {plugins}}}\n"
    refused = site.refused(text)
    assert any(said in error for error in refused), refused


@pytest.mark.parametrize(
    ("plugins", "said"),
    [
        ("{'grid_view': True}", "['grid_view'] has no effect: the page has its own views"),
        ("{'react_console_view': {}}", "['react_console_view'] has no effect: the page has its own views"),
        ("{'profiler': True}", "['profiler'] has no effect: it is not known here"),
        ("{'badges': {'template_name': 'x'}}", "['template_name'] has no effect: badges aren't made of"),
    ],
)
def test_what_has_no_effect_is_said(plugins: str, said: str, site: Site) -> None:
    [warning] = site.warned(f"{WHOLE}c['www']['plugins'] = {plugins}\n")
    assert said in warning
