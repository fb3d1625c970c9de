"""URIs in requests: which are taken, and which are refused before anything is opened."""

from __future__ import annotations

from typing import Any

import pytest
from internals import refused

from omega_slices import ErrorCode
from omega_slices._model.request_parser import make_request


@pytest.mark.parametrize("uri", ["s3://bucket/a", "gs://bucket", "az://box/a b", "http://host/a", "https://host/a%20b"])
def test_uris_of_objects_are_taken_as_they_are(uri: str) -> None:
    request = make_request(uri, symbols=["A"], session_file=f"{uri}/hours.csv")
    assert (request.data, request.session_file) == (uri, f"{uri}/hours.csv")


def test_a_file_uri_is_the_path_that_it_names() -> None:
    request = make_request("file:///a/b%20c", symbols=["A"], session_file="file://localhost/x.csv")
    assert (request.data, request.session_file) == ("/a/b%20c", "/x.csv")


@pytest.mark.parametrize("scheme", ["hdfs", "ftp", "HTTP", "S3", "abfs+x", "a-1.b"])
def test_a_uri_of_another_scheme_is_no_path(scheme: str) -> None:
    uri = f"{scheme}://bucket/a"
    places: list[dict[str, Any]] = [
        {"data": uri},
        {"path_template": f"{uri}/{{symbol}}_{{side}}.parquet"},
        {"indicators": ["x"], "indicator_template": f"{uri}/{{symbol}}.parquet"},
        {"session_file": uri},
        {"data": None, "inputs": uri},
    ]
    for place in places:
        error = refused(ErrorCode.UNSUPPORTED_INPUT, **place)
        assert repr(scheme) in error.message
        assert error.file is not None
        assert error.file.startswith(uri)
        assert error.hint
