"""A web page that separates or enhances in the browser, by LiteRT.js, with no server behind it.

The page (`page/`, plain HTML and modules) reads `page.json`, which names the cards of its networks;
`write_page` puts it, the networks and LiteRT.js into one folder, and `serve` serves such a folder.
"""

from kzoo.web import litert_js
from kzoo.web.folder import cached, write_page
from kzoo.web.server import serve

__all__ = ["cached", "litert_js", "serve", "write_page"]
