"""Makes the plain modules of this folder importable from the folders below it; what takes long is made once."""

import pytest


@pytest.fixture(scope="session")
def small_site(tmp_path_factory):
    """The folder of the pages of a small constructed site; not to be changed."""
    import site_world  # not above: the store's mutants are tested with a package that has no pipeline

    return site_world.build(tmp_path_factory.mktemp("checkout"))
