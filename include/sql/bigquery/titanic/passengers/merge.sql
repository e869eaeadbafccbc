-- The landed records of one run into the final table. Done twice, it changes nothing: a row is replaced only
-- by an answer that is as new or newer, so a cleared old run never turns the table back.
MERGE titanic.passengers AS final
USING `windrow_landing.titanic_passengers_{{ run_id | slug }}` AS landed
ON final.passenger_id = landed.passenger_id
WHEN MATCHED AND landed._fetched_at >= final._fetched_at THEN
  UPDATE SET
    survived = landed.survived,
    class = landed.class,
    name = landed.name,
    sex = landed.sex,
    age = landed.age,
    siblings_spouses = landed.siblings_spouses,
    parents_children = landed.parents_children,
    ticket = landed.ticket,
    fare = landed.fare,
    cabin = landed.cabin,
    embarked = landed.embarked,
    _extra = landed._extra,
    _key = landed._key,
    _fetched_at = landed._fetched_at,
    _run_id = landed._run_id
WHEN NOT MATCHED THEN
  INSERT (
    passenger_id, survived, class, name, sex, age, siblings_spouses, parents_children,
    ticket, fare, cabin, embarked, _extra, _key, _fetched_at, _run_id
  )
  VALUES (
    landed.passenger_id, landed.survived, landed.class, landed.name, landed.sex, landed.age,
    landed.siblings_spouses, landed.parents_children, landed.ticket, landed.fare, landed.cabin,
    landed.embarked, landed._extra, landed._key, landed._fetched_at, landed._run_id
  )
