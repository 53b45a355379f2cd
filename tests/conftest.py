"""What several test files share."""

import pytest

from mepmeta import methods


@pytest.fixture(params=methods.__all__)
def method(request):
    """Every method, with its defaults."""
    return getattr(methods, request.param)()
