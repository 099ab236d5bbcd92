"""One cache for all pages."""

from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def docs_cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Empty at first, then warm: what a page built the next one has. No page can harm the user's own."""
    return tmp_path_factory.mktemp("docs-cache")
