"""`svc route`: what an operator is told who names a model in place of a file."""

from click.testing import CliRunner

from svc.cli.route import command


def test_a_model_in_place_of_a_file_gets_the_command_that_asks_for_it(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    result = CliRunner().invoke(command, ["my model", "--router-url", "http://127.0.0.1:9"])
    assert result.exit_code == 1
    assert str(result.exception or result.output).count("""echo '{"model": "my model"}' | svc route""") == 1
