"""The tiny U-Net and its artefacts, written once for all tests of deploy."""

import made_artefacts
import pytest


@pytest.fixture(scope="session")
def sound():
    return made_artefacts.song()


@pytest.fixture(scope="session")
def model():
    """The tiny U-Net of one block."""
    return made_artefacts.tiny_unet()


@pytest.fixture(scope="session")
def bundle(tmp_path_factory):
    """(folder with both TFLite files, their cards by precision)."""
    pytest.importorskip("ai_edge_litert", reason="pip install 'kzoo[tflite]'")
    return made_artefacts.bundle(tmp_path_factory.getbasetemp())
