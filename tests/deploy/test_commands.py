"""The commands of the pages about clouds, with the programs of the clouds replaced. `make deploy-check` does more."""

from pathlib import Path

import pytest

from deploy import commands

OTHER = {"aws": "gcloud", "gcloud": "aws"}


@pytest.mark.parametrize("page", commands.PAGES)
def test_the_blocks_of_a_page_run_in_one_shell(page: str, tmp_path: Path) -> None:
    """Each variable is set before it is used, and none of a cloud reaches a command of the other."""
    calls = commands.run(page, folder=tmp_path)

    assert calls
    for program, *words in calls:
        assert not any(f"{OTHER.get(program)}-said" in word for word in words), words


def test_what_a_step_on_gke_needs_is_done_before_it(tmp_path: Path) -> None:
    calls = [" ".join(call) for call in commands.run("deploy/kubernetes/README.md", folder=tmp_path)]
    steps = (
        "gcloud container clusters create-auto",  # makes the pool of identities that Terraform binds
        "terraform -chdir=deploy/terraform/google apply",  # makes the registry
        "docker push",
        "kubectl create secret generic windrow-connections",
        "helm upgrade",
        "kubectl exec",
        "kubectl create secret generic x-publisher",
        "kubectl apply",
    )
    places = [next(place for place, call in enumerate(calls) if call.startswith(step)) for step in steps]
    assert places == sorted(places)


@pytest.mark.parametrize(
    ("block", "said"), [("gcloud auth login $NOBODY", "NOBODY: unbound variable"), ("false\naws s3 ls", "code 1")]
)
def test_a_page_that_does_not_run_is_an_error(
    block: str, said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / ".env.example").touch()
    (tmp_path / "page.md").write_text(f"```sh\n{block}\n```\n", encoding="utf-8")
    monkeypatch.setattr(commands, "ROOT", tmp_path)
    (tmp_path / "there").mkdir()

    with pytest.raises(RuntimeError, match=said):
        commands.run("page.md", folder=tmp_path / "there")
