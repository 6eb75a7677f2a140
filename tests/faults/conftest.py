import pytest

pytest.register_assert_rewrite("tests.faults.rig", "tests.faults.load_rig", "tests.faults.rows_registry")
