"""Files from a hub, which is here a server of this test's own that speaks as the Hugging Face hub does."""

import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import numpy as np
import pytest

from saliency_jax.models.weights.hub import hub_file
from saliency_jax.models.weights.safetensors_file import read_safetensors

huggingface_hub = pytest.importorskip("huggingface_hub")
safetensors_numpy = pytest.importorskip("safetensors.numpy")

COMMIT = "0123456789abcdef0123456789abcdef01234567"
TENSORS = {"fc.weight": np.arange(6, dtype=np.float32).reshape(2, 3)}


@pytest.fixture
def hub(monkeypatch):
    """The address of a hub with one file, and what it was asked."""
    content, asked = safetensors_numpy.save(TENSORS), []

    class Hub(BaseHTTPRequestHandler):
        def do_HEAD(self):
            self.answer(b"")

        def do_GET(self):
            self.answer(content)

        def answer(self, body):
            asked.append((self.command, self.path))
            found = self.path in [f"/owner/net/resolve/{name}/model.safetensors" for name in ("main", COMMIT)]
            self.send_response(200 if found else 404)
            if found:
                self.send_header("X-Repo-Commit", COMMIT)
                self.send_header("ETag", '"1234"')
                self.send_header("Content-Length", str(len(content)))
            else:
                self.send_header("X-Error-Code", "EntryNotFound")
                self.send_header("Content-Length", "0")
            self.end_headers()
            self.wfile.write(body if found else b"")

        def log_message(self, format, *args):
            pass

    for proxy in ("http_proxy", "https_proxy", "all_proxy"):
        monkeypatch.delenv(proxy, raising=False)
        monkeypatch.delenv(proxy.upper(), raising=False)
    server = ThreadingHTTPServer(("127.0.0.1", 0), Hub)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}", asked
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.mark.parametrize("revision", ["main", COMMIT])
def test_file_is_downloaded_once_and_has_the_hub_s_content(hub, tmp_path, revision):
    endpoint, asked = hub
    for _ in range(2):
        path = hub_file("owner/net", revision=revision, cache_dir=tmp_path, endpoint=endpoint)
        np.testing.assert_array_equal(read_safetensors(path)["fc.weight"], TENSORS["fc.weight"])
    assert tmp_path in path.parents
    assert COMMIT in path.parts
    assert [command for command, _ in asked].count("GET") == 1
    assert all(f"/{revision}/" in path or command == "GET" for command, path in asked)


def test_what_the_hub_has_not_is_an_error(hub, tmp_path):
    endpoint, _ = hub
    for name, revision in (("other.safetensors", "main"), ("model.safetensors", "other")):
        with pytest.raises(OSError, match=f"/resolve/{revision}/{name}"):
            hub_file("owner/net", name, revision=revision, cache_dir=tmp_path, endpoint=endpoint)
    with pytest.raises(ValueError, match="Repo id"):
        hub_file("owner/net/more", revision="main", cache_dir=tmp_path, endpoint=endpoint)


def test_file_that_is_not_here_yet_is_an_error_offline(hub, tmp_path, monkeypatch):
    endpoint, asked = hub
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    with pytest.raises(OSError, match=r"(?i)offline|cannot find"):
        hub_file("owner/net", revision="main", cache_dir=tmp_path, endpoint=endpoint)
    assert not asked


def test_missing_package_is_named_with_its_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    with pytest.raises(ModuleNotFoundError, match=r"pip install 'saliency-jax\[hub\]'"):
        hub_file("owner/net", revision="main")
