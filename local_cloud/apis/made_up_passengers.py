"""Seeded, made-up passengers in the shape of the well-known data set.

They are awkward where real data is: titles, brackets, quotes, apostrophes, letters beyond ASCII, a blank at
the end of a name, ages and cabins that nobody wrote down.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from random import Random

from local_cloud.apis.passengers import Passenger


@dataclass(frozen=True)
class People:
    """Names that go together, and where their bearers come aboard."""

    port: str
    surnames: str
    men: str
    women: str


PEOPLES = (
    People(
        "S",
        "Ashdown Attlebury Barrowby Blythe-Marsh Coldwell Cotterill Danforth Eastlake Fairweather Gatherley "
        "Hollins Inchbald Kettleborough Larkham Merriday Norcross Oakeshott Penhallow Quilter Rudyard "
        "Satterley Thackray Underhay Venables Whitcombe Yelland D'Arcy-Poole",
        "Albert Arthur Cecil Edgar Ernest Frank George Harold Herbert Percy Sidney Stanley Walter Wilfred",
        "Agnes Beatrice Clara Dorothy Edith Ethel Florence Gertrude Hilda Lilian Mabel Nellie Winifred",
    ),
    People(
        "Q",
        "O'Hanratty O'Shaughnessy O'Mearagh McGlinchey McElhatton Brannigan Corrigan Delahunty Finnerty "
        "Gilhooly Heneghan Kilbride Lonergan Mulvaney Rafferty Tuohy",
        "Bartley Cormac Daniel Eoin Fergus Lorcan Martin Michael Patrick Séamus Thomas Timothy",
        "Áine Bridget Catherine Delia Eileen Honora Kathleen Mary Nóra Róisín Sarah Úna",
    ),
    People(
        "S",
        "Ångström Björkqvist Dahlgård Ekelöv Fjällberg Grønvold Håkansson Jørgensbakke Kjærstad "
        "Lindehall-Ås Määttänen Nygård Östlund Pöyhönen Rønningdal Sjöholmen Tørnquist Vikström",
        "Anders Bjørn Carl Einar Göran Gunnar Håkan Johan Jörgen Karl Nils Olof Pekka Sven Åke",
        "Alfhild Anna Astrid Elna Gerda Greta Hanna Ingrid Kerstin Maja Signe Sigrid Tyra Åsa",
    ),
    People(
        "C",
        "Abi-Chedid Beauchêne Castelnérac Delaféraudière d'Aubigny-Roux Haddad-Mansûr Khoury-Sâad Lefèvre-Brun "
        "Montéclair Peñaranda Quiroga-Núñez Saint-Gély Vallombrosa Zarzûr",
        "André Élie Émile François Georges Henri Joaquín Joseph León Mansûr Raphaël René Youssef",
        "Adèle Amélie Berthe Catalina Eugénie Françoise Hélène Inés Léontine Mathilde Noémie Zahîya",
    ),
    People(
        "S",
        "Čapković Dąbrowiecki Đurašević Hruška Jovančić Kovačevski Łasztowski Mihoković Oštarčević Păunescu "
        "Ružička Strilić Šimunić Wójcikiewicz Žagarović",
        "Božidar Grgo Ivan Jakov Jozef Kazimierz Luka Marko Mirko Petar Stjepan Stanisław Vasil",
        "Agnieszka Božena Danica Jelena Katarína Ljuba Manda Marija Milica Ružica Stana Zofia",
    ),
)
SHARE_OF_CLASS = (0.24, 0.21, 0.55)
RARE_TITLES = {1: ("Dr", "Col", "Major", "Sir"), 2: ("Rev", "Dr")}
NICKNAMES = ("Kitty", "Nell", "Mr Kidd", "Dolly", "Bertie", "Jack")
FARE = {1: 46.0, 2: 13.0, 3: 7.75}
"""Pounds for one person."""
SURVIVES = {("female", 1): 0.96, ("female", 2): 0.91, ("female", 3): 0.5}
SURVIVES |= {("male", 1): 0.36, ("male", 2): 0.15, ("male", 3): 0.14}
CHILD_SURVIVES = {1: 0.95, 2: 0.95, 3: 0.42}
CHILD_AGE = 13


@dataclass
class Person:
    """One member of a party."""

    name: str
    sex: str
    age: float
    siblings_and_spouse: int = 0
    parents_and_children: int = 0


class Passengers:
    """Makes parties of travellers, no two of them with the same name."""

    def __init__(self, seed: int) -> None:
        self._random = Random(seed)
        self._names: set[str] = set()

    def passengers(self, count: int) -> list[Passenger]:
        """Make `count` passengers, in an order that parts the parties."""
        made: list[Passenger] = []
        while len(made) < count:
            made += self._party()
        made = made[:count]
        self._random.shuffle(made)
        return [{"PassengerId": number, **each} for number, each in enumerate(made, start=1)]

    def _party(self) -> Iterator[Passenger]:
        random = self._random
        (pclass,) = random.choices((1, 2, 3), SHARE_OF_CLASS)
        people = random.choice(PEOPLES)
        kind = random.random()
        surname = random.choice(people.surnames.split())
        if kind < 0.62:
            party = [self._single(surname, people, pclass)]
        elif kind < 0.78:
            party = self._family(surname, people, children=0)
        elif kind < 0.9:
            party = self._family(surname, people, children=random.choice((1, 1, 2, 2, 3, 5)))
        else:
            party = self._siblings(surname, people, pclass)
        ticket = self._ticket(pclass)
        fare = round(FARE[pclass] * len(party) * random.uniform(0.9, 1.7), 4)
        cabin = self._cabin(pclass)
        for person in party:
            yield {
                "Survived": int(random.random() < self._chance(person, pclass)),
                "Pclass": pclass,
                "Name": person.name,
                "Sex": person.sex,
                "Age": None if random.random() < 0.2 else person.age,
                "SibSp": person.siblings_and_spouse,
                "Parch": person.parents_and_children,
                "Ticket": ticket,
                "Fare": None if random.random() < 0.004 else fare,
                "Cabin": cabin,
                "Embarked": None if random.random() < 0.004 else people.port,
            }

    def _single(self, surname: str, people: People, pclass: int) -> Person:
        random = self._random
        age = self._adult_age()
        if random.random() < 0.34:
            return Person(self._name(surname, "Miss", people.women), "female", age)
        title = "Mr" if random.random() < 0.94 else random.choice(RARE_TITLES.get(pclass, ("Mr",)))
        return Person(self._name(surname, title, people.men), "male", age)

    def _family(self, surname: str, people: People, children: int) -> list[Person]:
        """Make a couple and its children."""
        random = self._random
        father = Person(self._name(surname, "Mr", people.men), "male", self._adult_age() + 4, 1, children)
        given = father.name.partition("Mr. ")[2].partition(' "')[0].strip()
        maiden = random.choice(random.choice(PEOPLES).surnames.split())
        bracket = f" ({random.choice(people.women.split())} {maiden})"
        mother = Person(self._unique(f"{surname}, Mrs. {given}", bracket), "female", father.age - 3, 1, children)
        return [father, mother, *(self._child(surname, people, children) for _ in range(children))]

    def _child(self, surname: str, people: People, children: int) -> Person:
        random = self._random
        age = random.choice((0.42, 0.75, 0.92)) if random.random() < 0.1 else float(random.randint(1, 17))
        if random.random() < 0.5:
            name, sex = self._name(surname, "Miss", people.women), "female"
        else:
            title = "Master" if age < CHILD_AGE else "Mr"
            name, sex = self._name(surname, title, people.men), "male"
        return Person(name, sex, age, children - 1, 2)

    def _siblings(self, surname: str, people: People, pclass: int) -> list[Person]:
        party = [self._single(surname, people, pclass) for _ in range(self._random.choice((2, 2, 3)))]
        for person in party:
            person.siblings_and_spouse = len(party) - 1
        return party

    def _name(self, surname: str, title: str, given_names: str) -> str:
        """Make a name nobody has: one or two given names, now and then a nickname in quotes."""
        first, second = self._random.sample(given_names.split(), 2)
        given = first if self._random.random() < 0.45 else f"{first} {second}"
        nickname = f' "{self._random.choice(NICKNAMES)}"' if self._random.random() < 0.05 else ""
        return self._unique(f"{surname}, {title}. {given}", nickname)

    def _unique(self, name: str, end: str) -> str:
        """Add initials to a name until nobody has it; one in 150 ends with a blank."""
        end += " " * (self._random.random() < 1 / 150)
        while name + end in self._names:
            name += f" {self._random.choice('ABCDEFGHJLMNPRSTW')}"
        self._names.add(name + end)
        return name + end

    def _adult_age(self) -> float:
        age = min(74.0, max(15.0, self._random.gauss(31, 12)))
        return float(round(age)) + (0.5 if self._random.random() < 0.03 else 0.0)

    def _ticket(self, pclass: int) -> str:
        number = str(self._random.randint(10_000, 399_999))
        prefix = {1: "PC", 2: "S.O.C.", 3: "A/5."}[pclass]
        return f"{prefix} {number}" if self._random.random() < 0.3 else number

    def _cabin(self, pclass: int) -> str | None:
        random = self._random
        if random.random() > {1: 0.8, 2: 0.09, 3: 0.03}[pclass]:
            return None
        deck = random.choice({1: "ABCDE", 2: "DEF", 3: "EFG"}[pclass])
        rooms = 2 if random.random() < 0.1 else 1
        return " ".join(f"{deck}{random.randint(2, 130)}" for _ in range(rooms))

    def _chance(self, person: Person, pclass: int) -> float:
        return CHILD_SURVIVES[pclass] if person.age < CHILD_AGE else SURVIVES[person.sex, pclass]


def make_passengers(count: int = 891, seed: int = 1912) -> list[Passenger]:
    """Make passengers; the same count and seed give the same passengers."""
    return Passengers(seed).passengers(count)
