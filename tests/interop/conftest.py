"""One Spark session for the whole test run: it takes seconds to start, and a JVM has only one."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.interop.spark_shuffles import JAVA_OPTIONS

with warnings.catch_warnings():
    # pyspark 4.3 says at import that it does not know pandas 3, which nothing here uses.
    warnings.simplefilter("ignore")
    from pyspark.sql import SparkSession


@pytest.fixture(scope="session")
def spark(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SparkSession]:
    """A local session with one core, its files in a temporary directory, listening on the loopback device only."""
    home: Path = tmp_path_factory.mktemp("spark")
    settings = {
        "spark.ui.enabled": "false",
        "spark.driver.bindAddress": "127.0.0.1",
        "spark.driver.host": "127.0.0.1",
        "spark.driver.memory": "1g",
        "spark.driver.extraJavaOptions": f"{JAVA_OPTIONS} -Dderby.system.home={home}",
        "spark.local.dir": str(home / "local"),
        "spark.sql.warehouse.dir": str(home / "warehouse"),
        "spark.sql.session.timeZone": "UTC",
        "spark.sql.shuffle.partitions": "4",
        "spark.sql.legacy.allowHashOnMapType": "true",
        "spark.log.level": "ERROR",
    }
    builder = SparkSession.builder.master("local[1]").appName("shuffle-tests")
    for key, value in settings.items():
        builder = builder.config(key, value)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        session = builder.getOrCreate()
    yield session
    session.stop()
