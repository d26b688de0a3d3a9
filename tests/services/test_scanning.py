"""What a folder is said to hold before it becomes a model, and after it was drafted."""

from client import write_model

from app.services import models, scanning


def test_folder_that_is_not_there_names_the_one_that_was_meant(work, tmp_path):
    (tmp_path / "spam").mkdir()
    found = scanning.scan(work, tmp_path / "spm")
    assert found.problem.remedy == f"Is it {tmp_path / 'spam'}?"
    found = scanning.scan(work, tmp_path / "churn" / "model")
    assert found.problem.remedy == f'In {tmp_path} there is no "churn".'


def test_drafts_are_told_from_what_somebody_wrote(work, tmp_path):
    models.init(tmp_path / "spam")
    (tmp_path / "spam" / "predict.py").write_text("def predict(model, inputs): ...\n")
    (tmp_path / "spam" / "sample.json").unlink()
    found = scanning.scan(work, tmp_path / "spam")
    assert found.drafts == ("requirements.txt",)
    assert [part for part, _ in found.missing] == ["sample.json"]
    assert scanning.scan(work, write_model(tmp_path / "churn", "churn")).drafts == ()


def test_pipeline_without_a_script_lacks_none(work, tmp_path):
    folder = tmp_path / "pipe"
    folder.mkdir()
    (folder / "rhythmicml.toml").write_text('[[stage]]\nname = "a"\ninstance = "churn"\n')
    assert [part for part, _ in scanning.scan(work, folder).missing] == ["sample.json"]
