"""A store in a real OCI registry: what lies there, what other tools make of it, and what it costs to look."""

from __future__ import annotations

import json
import subprocess
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from pathlib import Path

import httpx
import oras.client
import pytest

from model_store.errors import ObjectError, StoreError, StoreNotFoundError
from model_store.storage.oci.artifact import IMAGE_MANIFEST, digest_of, layer_of, locate, object_artifact
from model_store.store import Store
from tests.support.backends import Place
from tests.support.registry_front import Answered, Asked, Front
from tests.support.registry_server import registry_server
from tests.support.requirements import program
from tests.support.stores import NOON, build_version
from tests.support.waiting import HANG_S

pytestmark = pytest.mark.system
MANY = 1100


def name_of(repository: Place) -> str:
    """The repository of model `digits`, as other tools want it."""
    return f"{repository.url.removeprefix('oci://')}/digits"


def manifest_of(repository: Place, tag: str) -> dict[str, object]:
    """What the registry has under a tag."""
    host, _, name = name_of(repository).partition("/")
    answer = httpx.get(f"http://{host}/v2/{name}/manifests/{tag}", headers={"Accept": IMAGE_MANIFEST}, trust_env=False)
    document: dict[str, object] = answer.raise_for_status().json()
    return document


def tags_of(name: str) -> list[str]:
    """All tags of a repository, in the order of their names."""
    host = name.partition("/")[0]
    answer = httpx.get(f"http://{host}/v2/{name.partition('/')[2]}/tags/list", trust_env=False)
    return sorted(answer.json().get("tags") or [])


def test_a_model_that_a_registry_has_no_name_for(repository: Place) -> None:
    store = Store.create(repository.url)
    manifest, files = build_version()
    with pytest.raises(StoreError, match=r"cannot publish a\.\.b: in a registry '\.', '_' and '-'"):
        store.publish(manifest.model_copy(update={"model": "a..b"}), files)
    assert store.listing("a..b").versions == []


def test_a_store_that_is_not_there(repository: Place) -> None:
    with pytest.raises(StoreNotFoundError, match=f"there is no store at {repository.url}: expected a repository"):
        Store.open(repository.url)


# What lies there


def test_a_version_is_one_artifact(repository: Place) -> None:
    manifest, files = build_version()
    store = Store.create(repository.url)
    store.publish(manifest, files)
    store.set_alias("digits", "production", manifest.version)
    found = manifest_of(repository, manifest.version)
    assert found["artifactType"] == "application/vnd.slimbayes.version.v1"
    layers = found["layers"]
    assert isinstance(layers, list)
    titles = [(layer["mediaType"], layer["annotations"]["org.opencontainers.image.title"]) for layer in layers]
    assert titles == [
        ("application/onnx", "dense/model.onnx"),
        ("application/json", "manifest.json"),
        ("application/onnx", "p80/model.onnx"),
    ]
    assert isinstance(found["config"], dict)
    assert found["config"]["digest"] == layers[1]["digest"]
    (change,) = (name for name in store.listing("digits").objects if name.startswith("aliases/"))
    assert tags_of(name_of(repository)) == [
        manifest.version,
        change.removesuffix(".json").replace("/", "."),
    ]
    assert tags_of(name_of(repository).removesuffix("/digits")) == ["_store", "digits"]


def test_a_publisher_that_dies_leaves_nothing_to_be_seen(repository: Place) -> None:
    """What it sent is not sent again by the next."""
    manifest, files = build_version(b"weights" * 1000)
    with Front(repository.server) as front:
        Store.create(repository.url).objects.write(f"digits/{manifest.version}/dense/model.onnx", files["dense"])
        store = Store.create(repository.through(front.address).url)
        assert list(store.objects.list_objects("digits/")) == []
        store.publish(manifest, files)
        sent = [asked.body for asked in front.asked if asked.method == "PUT" and "/uploads/" in asked.path]
    assert files["p80"] in sent
    assert files["dense"] not in sent


def test_a_level_that_another_version_or_model_has_is_not_sent(repository: Place, front: Front) -> None:
    store = Store.create(repository.through(front.address).url)
    first, files = build_version(b"weights" * 1000)
    store.publish(first, files)
    front.asked.clear()
    store.publish(first.model_copy(update={"version": "20300101-000000-abcdef"}), files)
    name, other = (f"{model}/{first.version}/p80/model.onnx" for model in ("digits", "letters"))
    assert store.objects.copy(name, other)
    assert not store.objects.copy("digits/none", "letters/none")
    assert store.objects.read(other, 10**6) == files["p80"]
    assert all(asked.body not in files.values() for asked in front.asked)


def test_a_file_that_is_added_later_is_seen_by_who_looked_before(repository: Place) -> None:
    """A signature put beside a version that is there, by somebody else; the version has another digest then."""
    store, other = Store.create(repository.url), Store.open(Store.create(repository.url).url)
    manifest, files = build_version()
    store.publish(manifest, files)
    before, name = other.listing("digits"), f"{manifest.version}/signature.json"
    for signature in (b"{}", b'{"a": "newer one"}'):
        store.objects.write(f"digits/{name}", signature)
        found = other.listing("digits").objects
        assert {key: each for key, each in found.items() if key != name} == before.objects
        assert found[name].size == len(signature)
        assert other.signature("digits", manifest.version) == signature
        assert other.verify("digits", manifest.version) == manifest
        version, edition = tags_of(name_of(repository))
        assert (version, edition.partition(".")[0]) == (manifest.version, manifest.version)
        assert manifest_of(repository, version) == manifest_of(repository, edition)
    store.delete("digits", manifest.version)
    assert tags_of(name_of(repository)) == []
    assert other.listing("digits").objects == {}


def test_a_registry_that_allows_no_deletion(tmp_path: Path) -> None:
    with registry_server(tmp_path, delete={"enabled": False}) as address:
        store = Store.create(f"oci://{address}/models")
        manifest, files = build_version()
        store.publish(manifest, files)
        store.objects.write(f"digits/{manifest.version}/signature.json", b"{}")
        with pytest.raises(StoreError, match=rf"cannot delete digits {manifest.version}: the registry does not allow"):
            store.delete("digits", manifest.version)
        assert store.verify("digits", manifest.version) == manifest
        assert store.signature("digits", manifest.version) == b"{}"


# What other tools make of it


def test_oras_pulls_a_store_in_a_folder(repository: Place, tmp_path: Path) -> None:
    manifest, files = build_version()
    store = Store.create(repository.url)
    store.publish(manifest, files)
    folder = tmp_path / "store" / "digits" / manifest.version
    client = oras.client.OrasClient(insecure=True)
    pulled = client.pull(target=f"{name_of(repository)}:{manifest.version}", outdir=str(folder))
    assert {str(Path(path).relative_to(folder)) for path in pulled} == {
        "dense/model.onnx",
        "manifest.json",
        "p80/model.onnx",
    }
    assert Store.open(tmp_path / "store").verify("digits", manifest.version) == manifest


@pytest.mark.slow
def test_skopeo_copies_a_store_to_another_registry(repository: Place, tmp_path: Path) -> None:
    manifest, files = build_version()
    store = Store.create(repository.url)
    store.publish(manifest, files)
    store.set_alias("digits", "production", manifest.version)
    name = name_of(repository)
    with registry_server(tmp_path) as address:
        for source in (name, name.removesuffix("/digits")):
            for tag in tags_of(source):
                target = f"{address}/{source.partition('/')[2]}:{tag}"
                command = [
                    program("skopeo"),
                    "--insecure-policy",
                    "copy",
                    "--src-tls-verify=false",
                    "--dest-tls-verify=false",
                ]
                subprocess.run([*command, f"docker://{source}:{tag}", f"docker://{target}"], check=True, timeout=HANG_S)
        copied = Store.open(repository.through(address).url)
        assert copied.verify("digits", copied.resolve("digits")) == manifest
        assert copied.aliases("digits") == {"production": manifest.version}
        assert copied.history("digits") == store.history("digits")


# What it costs to look


def test_a_look_costs_one_request_a_model(repository: Place, front: Front) -> None:
    writer, store = Store.create(repository.url), Store.create(repository.through(front.address).url)
    for second in range(3):
        manifest, files = build_version(b"%d" % second, created=NOON + timedelta(seconds=second))
        writer.publish(manifest, files)
        writer.set_alias("digits", "production", manifest.version)
    front.asked.clear()
    first = store.listing("digits")
    assert Counter(asked.path.split("/")[-2] for asked in front.asked) == {"tags": 1, "manifests": 6}
    front.asked.clear()
    assert store.listing("digits") == first
    assert [asked.path.partition("?")[0].split("/")[-1] for asked in front.asked] == ["list"]


def test_tags_in_pages(repository: Place, front: Front) -> None:
    """The list is followed by its Link, relative or not, to its end; one that has none is an error."""

    def two_at_a_time(asked: Asked, answered: Answered) -> Answered:
        path, _, query = asked.path.partition("?")
        if not path.endswith("/tags/list") or answered.status != 200:
            return answered
        last = httpx.QueryParams(query).get("last", "")
        tags = [tag for tag in sorted(json.loads(answered.body)["tags"]) if tag > last]
        link = {"Link": f'<{path}?n=2&last={tags[1]}>; rel="next"'} if len(tags) > 2 else {}
        return Answered(200, link, json.dumps({"tags": tags[:2]}).encode())

    store = Store.create(repository.through(front.address).url)
    front.change = two_at_a_time
    names = []
    for second in range(5):
        manifest, files = build_version(b"%d" % second, created=NOON + timedelta(seconds=second))
        store.publish(manifest, files)
        names.append(manifest.version)
    assert store.versions("digits") == names
    endless = {"Link": '</v2/again/tags/list>; rel="next"'}
    front.change = lambda asked, answered: Answered(200, endless, b'{"tags": []}')
    with pytest.raises(ObjectError, match="list of tags does not end"):
        list(store.objects.list_objects("digits/"))


@pytest.mark.slow
def test_more_than_a_thousand_tags(repository: Place) -> None:
    store = Store.create(repository.url)
    store.objects.write("digits/0000", b"")
    host, _, name = name_of(repository).partition("/")
    with httpx.Client(base_url=f"http://{host}/v2/{name}/manifests/", trust_env=False) as client:

        def put(number: int) -> None:
            """As the store does, which would look for the blob as well each time."""
            tag, title = locate(f"{number:04}")
            artifact = object_artifact(layer_of(title, digest_of(b""), 0))
            client.put(tag, content=artifact.to_json(), headers={"Content-Type": IMAGE_MANIFEST}).raise_for_status()

        with ThreadPoolExecutor(4) as threads:
            list(threads.map(put, range(1, MANY)))
    assert [found.name for found in store.objects.list_objects("digits/")] == [
        f"digits/{number:04}" for number in range(MANY)
    ]


def test_what_is_none_of_the_stores_is_not_written_over(repository: Place) -> None:
    """Somebody else's image under a version's name: it is no version, and stays what it is."""
    store = Store.create(repository.url)
    first, files = build_version()
    store.publish(first, files)
    image = manifest_of(repository, first.version) | {"artifactType": "application/vnd.example"}
    host, _, name = name_of(repository).partition("/")
    headers = {"Content-Type": IMAGE_MANIFEST}
    manifest, files = build_version(b"second", created=NOON + timedelta(minutes=1))
    url = f"http://{host}/v2/{name}/manifests/{manifest.version}"
    httpx.put(url, json=image, headers=headers, trust_env=False).raise_for_status()
    assert store.versions("digits") == [first.version]
    with pytest.raises(StoreError, match="cannot publish digits: its tag belongs to something else than a store"):
        store.publish(manifest, files)
    assert manifest_of(repository, manifest.version) == image
