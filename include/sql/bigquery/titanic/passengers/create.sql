-- Passengers, one row each: the last answer the API gave about them.
-- Columns are those of windrow.sources.titanic.streams.Passengers.contract; a test compares the two.
CREATE TABLE IF NOT EXISTS titanic.passengers (
  passenger_id INT64 NOT NULL OPTIONS (description = 'Number of the passenger.'),
  survived INT64 NOT NULL OPTIONS (description = '1 if the passenger survived, else 0.'),
  class INT64 NOT NULL OPTIONS (description = 'Class of the ticket: 1, 2 or 3.'),
  name STRING NOT NULL OPTIONS (description = 'Name as listed, including spaces and quotes.'),
  sex STRING NOT NULL OPTIONS (description = 'female or male.'),
  age FLOAT64 OPTIONS (description = 'Age in years; fractions for infants; null if unknown.'),
  siblings_spouses INT64 NOT NULL OPTIONS (description = 'Siblings and spouses aboard.'),
  parents_children INT64 NOT NULL OPTIONS (description = 'Parents and children aboard.'),
  ticket STRING OPTIONS (description = 'Number of the ticket, with its prefix.'),
  fare FLOAT64 OPTIONS (description = 'Fare in pounds sterling of 1912.'),
  cabin STRING OPTIONS (description = 'Cabin or cabins; null if unknown.'),
  embarked STRING OPTIONS (description = 'Port: C Cherbourg, Q Queenstown, S Southampton.'),
  _extra STRING OPTIONS (description = 'Fields of the answer that are not in the contract, as JSON.'),
  _key STRING NOT NULL OPTIONS (description = 'Key of the query that returned this record.'),
  _fetched_at TIMESTAMP NOT NULL OPTIONS (description = 'When the answer arrived.'),
  _run_id STRING NOT NULL OPTIONS (description = 'Airflow run that fetched it.')
)
CLUSTER BY class, sex
OPTIONS (description = 'Passengers of the Titanic, one row each.')
