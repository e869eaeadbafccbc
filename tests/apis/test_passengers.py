"""Passengers: made up, and read from a file."""

import hashlib
import json
from collections.abc import Callable
from pathlib import Path

import pytest

from local_cloud.apis.made_up_passengers import make_passengers
from local_cloud.apis.passengers import COLUMNS, BadPassengers, Passenger, read_passengers
from local_cloud.apis.testing import running

HEADER = ",".join(COLUMNS)
GOOD = '7,1,3,"Ångström, Miss. Åsa ""Kitty"" (Åse O\'Neil) ",female,26,1,0,"A/5, 21",7.25,,S'


@pytest.fixture(scope="module")
def made() -> list[Passenger]:
    return make_passengers()


def share(passengers: list[Passenger], matches: Callable[[Passenger], bool]) -> float:
    return sum(map(matches, passengers)) / len(passengers)


def survivors(passengers: list[Passenger], sex: str, pclass: int) -> float:
    group = [each for each in passengers if (each["Sex"], each["Pclass"]) == (sex, pclass)]
    return share(group, lambda each: each["Survived"] == 1)


class TestMadeUp:
    def test_they_have_the_well_known_shape(self, made: list[Passenger]) -> None:
        assert [each["PassengerId"] for each in made] == list(range(1, 892))
        assert len({each["Name"] for each in made}) == 891
        assert all(list(each) == list(COLUMNS) for each in made)

    def test_they_never_change(self, made: list[Passenger]) -> None:
        digest = hashlib.sha256(json.dumps(made).encode()).hexdigest()
        assert digest == "63b1cf22ffab9159e58c0d8246cc3e82ad8702142c3eee110f7b0dc53235c78f", (
            "the passengers changed: on purpose?"
        )
        assert make_passengers(seed=1) != made

    def test_their_names_are_awkward(self, made: list[Passenger]) -> None:
        names = "\n".join(str(each["Name"]) for each in made)
        for awkward in (", Mrs. ", ", Master. ", " (", '"', "'", "å", "ł", "é", "-"):
            assert awkward in names, awkward
        assert any(str(each["Name"]).endswith(" ") for each in made)

    def test_their_gaps_are_where_real_data_has_them(self, made: list[Passenger]) -> None:
        assert 0.15 < share(made, lambda each: each["Age"] is None) < 0.25
        assert 0.7 < share(made, lambda each: each["Cabin"] is None) < 0.85
        assert 0 < share(made, lambda each: each["Embarked"] is None) < 0.01
        assert 0 < share(made, lambda each: each["Fare"] is None) < 0.01

    def test_survival_follows_class_and_sex(self, made: list[Passenger]) -> None:
        for pclass in (1, 2, 3):
            assert survivors(made, "female", pclass) > survivors(made, "male", pclass) + 0.2
        assert survivors(made, "female", 1) > survivors(made, "female", 3) + 0.2
        assert survivors(made, "male", 1) > survivors(made, "male", 3) + 0.1


class TestFromAFile:
    def test_cells_are_typed_and_names_kept_as_they_are(self, tmp_path: Path) -> None:
        assert read_passengers(written(tmp_path, HEADER, GOOD)) == [
            {
                "PassengerId": 7,
                "Survived": 1,
                "Pclass": 3,
                "Name": 'Ångström, Miss. Åsa "Kitty" (Åse O\'Neil) ',
                "Sex": "female",
                "Age": 26.0,
                "SibSp": 1,
                "Parch": 0,
                "Ticket": "A/5, 21",
                "Fare": 7.25,
                "Cabin": None,
                "Embarked": "S",
            }
        ]

    def test_the_example_of_the_docs_is_one(self) -> None:
        example = Path(__file__).resolve().parents[2] / "docs/examples/passengers.csv"
        assert example.read_text(encoding="utf-8").splitlines()[0] == HEADER
        assert len(read_passengers(example)) == 3

    def test_order_more_columns_blank_lines_and_a_mark_do_no_harm(self, tmp_path: Path) -> None:
        columns = [*reversed(COLUMNS), "Boat"]
        cells = ["S", "", "7.25", "T1", "0", "1", "", "male", "Roe, Mr. Richard", "2", "0", "9", "4"]
        path = written(tmp_path, "\ufeff" + ",".join(columns), ",".join(f'"{cell}"' for cell in cells), "")
        (passenger,) = read_passengers(path)
        assert list(passenger) == list(COLUMNS)
        assert (passenger["PassengerId"], passenger["Name"], passenger["Age"]) == (9, "Roe, Mr. Richard", None)

    @pytest.mark.parametrize(
        ("lines", "words"),
        [
            ([], ["line 1", "PassengerId"]),
            ([HEADER], ["no passengers"]),
            ([HEADER.replace("Age,", ""), GOOD], ["line 1", "Age", "missing"]),
            ([HEADER, GOOD, GOOD.replace("7,1,", "8,1,", 1)], ["line 3", "Name", "line 2"]),
            ([HEADER, GOOD, GOOD.replace("Åsa", "Ase")], ["line 3", "PassengerId", "line 2"]),
            ([HEADER, GOOD.replace(",26,", ",old,")], ["line 2", "Age", "'old'"]),
            ([HEADER, GOOD.replace(",26,", ",-1,")], ["line 2", "Age", "'-1'"]),
            ([HEADER, GOOD.replace(",7.25,", ",nan,")], ["line 2", "Fare", "'nan'"]),
            ([HEADER, GOOD.replace("7,1,", "7,2,", 1)], ["line 2", "Survived", "'2'"]),
            ([HEADER, GOOD.replace(",3,", ",4,", 1)], ["line 2", "Pclass", "'4'"]),
            ([HEADER, GOOD.replace("7,1,", "x,1,", 1)], ["line 2", "PassengerId", "'x'"]),
            ([HEADER, GOOD.replace(",26,1,", ",26,,")], ["line 2", "SibSp", "''"]),
            ([HEADER, GOOD.replace("female", "")], ["line 2", "Sex", "empty"]),
            ([HEADER, GOOD, "", '8,1,3,"Roe,\nJ",male,1,0,0,T,1,,S', "9,1"], ["line 6", "2 cells", "12"]),
            ([HEADER, GOOD + ',"open'], ["not CSV"]),
        ],
    )
    def test_what_is_wrong_is_named_with_its_place(self, tmp_path: Path, lines: list[str], words: list[str]) -> None:
        path = written(tmp_path, *lines)
        with pytest.raises(BadPassengers) as bad:
            read_passengers(path)
        for word in (str(path), *words):
            assert word in str(bad.value)

    def test_another_encoding_is_named(self, tmp_path: Path) -> None:
        path = tmp_path / "passengers.csv"
        path.write_bytes(f"{HEADER}\n{GOOD}\n".encode("latin-1"))
        with pytest.raises(BadPassengers, match="UTF-8"):
            read_passengers(path)

    def test_a_missing_file_is_named(self, tmp_path: Path) -> None:
        with pytest.raises(BadPassengers, match=r"nowhere\.csv"):
            read_passengers(tmp_path / "nowhere.csv")

    def test_the_server_serves_the_file(self, tmp_path: Path) -> None:
        with running(passengers=written(tmp_path, HEADER, GOOD)) as api:
            token = api.token()
            users = api.get("/get_user_list", token).json()["users"]
            assert users == ['Ångström, Miss. Åsa "Kitty" (Åse O\'Neil) '] * 2
            assert api.get("/get_user_by_name", token, name=users[0]).json()["PassengerId"] == 7


def written(folder: Path, *lines: str) -> Path:
    path = folder / "passengers.csv"
    path.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
    return path
