"""What the matrices share: photos, undisturbed runs, and the ledger of what has passed."""

import pytest
from tests.reliability.ledger import Ledger
from tests.reliability.ranks_stage import RanksStage
from tests.reliability.sessions import Stage


@pytest.fixture(scope="session")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Stage:
    return Stage(tmp_path_factory.mktemp("stage"))


@pytest.fixture(scope="session")
def ranks_stage(tmp_path_factory: pytest.TempPathFactory) -> RanksStage:
    return RanksStage(tmp_path_factory.mktemp("ranks"))


@pytest.fixture(scope="session")
def ledger() -> Ledger:
    return Ledger()
