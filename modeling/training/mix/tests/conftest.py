from modeling.training.tests.conftest import model_dir  # noqa: F401
