from __future__ import annotations

import hashlib
import sys
import threading
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer

import pytest

from dlkit.data import DataError, DataNotFoundError
from dlkit.data.fetch import RemoteFile, cache_folder, data_folder, fetch, sha256

CONTENT = b"the official bytes"
SUM = hashlib.sha256(CONTENT).hexdigest()


@pytest.fixture
def cache(tmp_path, monkeypatch):
    monkeypatch.delenv("DLKIT_DATA", raising=False)
    monkeypatch.setenv("DLKIT_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def server(tmp_path):
    """A web server of our own on this machine: pooch's whole way is walked, without the network."""
    root = tmp_path / "www"
    root.mkdir()

    class Quiet(SimpleHTTPRequestHandler):
        def log_message(self, *args):
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(root))) as httpd:
        thread = threading.Thread(target=httpd.serve_forever, args=(0.02,), daemon=True)
        thread.start()
        yield root, f"http://127.0.0.1:{httpd.server_port}/"
        httpd.shutdown()
        thread.join()


def remote(*bases: str, name: str = "file.bin") -> RemoteFile:
    return RemoteFile("set", name, SUM, bases)


def test_folder_first(cache, tmp_path, monkeypatch):
    (tmp_path / "data" / "set").mkdir(parents=True)
    path = tmp_path / "data" / "set" / "file.bin"
    path.write_bytes(CONTENT)
    monkeypatch.setenv("DLKIT_DATA", str(tmp_path / "data"))
    assert fetch(remote()) == path
    assert not cache.exists()


def test_flat_in_the_folder(cache, tmp_path, monkeypatch):
    (tmp_path / "data").mkdir()
    path = tmp_path / "data" / "file.bin"
    path.write_bytes(CONTENT)
    monkeypatch.setenv("DLKIT_DATA", str(tmp_path / "data"))
    assert fetch(remote()) == path


@pytest.mark.parametrize("where", ["set/file.bin", "file.bin"])
def test_wrong_checksum_in_the_folder(cache, tmp_path, monkeypatch, where):
    path = tmp_path / "data" / where
    path.parent.mkdir(parents=True)
    path.write_bytes(b"something else")
    monkeypatch.setenv("DLKIT_DATA", str(tmp_path / "data"))
    with pytest.raises(DataError, match=rf"14 bytes\): SHA-256 is {sha256(path)}, expected {SUM}") as caught:
        fetch(remote())
    assert str(path) in str(caught.value)


def test_two_flat_sets_with_the_same_names(cache, tmp_path, monkeypatch):
    """Flat MNIST files do not stand in the way of Fashion-MNIST, whose files are named alike."""
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "x-ubyte.gz").write_bytes(b"the other set")
    monkeypatch.setenv("DLKIT_DATA", str(tmp_path / "data"))
    with pytest.raises(DataNotFoundError, match="no address served it"):
        fetch(remote("http://127.0.0.1:9/", name="x-ubyte.gz"))


def test_folder_that_is_not_there(monkeypatch, tmp_path):
    monkeypatch.setenv("DLKIT_DATA", str(tmp_path / "missing"))
    with pytest.raises(DataNotFoundError, match="which is not a folder"):
        fetch(remote())


def test_empty_variable_means_no_folder(monkeypatch):
    monkeypatch.setenv("DLKIT_DATA", " ")
    assert data_folder() is None


def test_download_and_cache(cache, server):
    pytest.importorskip("pooch")
    root, base = server
    (root / "file.bin").write_bytes(CONTENT)
    path = fetch(remote(base))
    assert path == cache / "set" / "file.bin"
    assert path.read_bytes() == CONTENT
    (root / "file.bin").unlink()
    assert fetch(remote(base)) == path  # from the cache now


def test_the_second_address_is_tried(cache, server):
    pytest.importorskip("pooch")
    root, base = server
    (root / "file.bin").write_bytes(CONTENT)
    assert fetch(remote("http://127.0.0.1:9/", base + "missing/", base)).read_bytes() == CONTENT


def test_download_with_wrong_checksum(cache, server):
    pytest.importorskip("pooch")
    root, base = server
    (root / "file.bin").write_bytes(b"tampered with")
    with pytest.raises(DataNotFoundError, match=r"SHA256|hash") as caught:
        fetch(remote(base))
    assert base + "file.bin" in str(caught.value)
    assert not (cache / "set" / "file.bin").exists()


def test_damaged_cache_is_fetched_again(cache, server):
    pytest.importorskip("pooch")
    root, base = server
    (root / "file.bin").write_bytes(CONTENT)
    (cache / "set").mkdir(parents=True)
    (cache / "set" / "file.bin").write_bytes(b"damaged")
    assert fetch(remote(base)).read_bytes() == CONTENT


def test_no_network_says_what_to_do(cache):
    pytest.importorskip("pooch")
    with pytest.raises(DataNotFoundError, match="no address served it") as caught:
        fetch(remote("http://127.0.0.1:9/a/", "http://127.0.0.1:9/b/"))
    message = str(caught.value)
    assert "http://127.0.0.1:9/a/file.bin" in message
    assert "http://127.0.0.1:9/b/file.bin" in message
    assert "set DLKIT_DATA" in message


def test_without_pooch(cache, monkeypatch):
    monkeypatch.setitem(sys.modules, "pooch", None)
    with pytest.raises(ImportError, match=r'pip install "dlkit\[cli\]"'):
        fetch(remote("http://127.0.0.1:9/"))


def test_default_cache_is_the_systems(monkeypatch):
    pytest.importorskip("pooch")
    monkeypatch.delenv("DLKIT_CACHE", raising=False)
    assert cache_folder().name == "dlkit"
