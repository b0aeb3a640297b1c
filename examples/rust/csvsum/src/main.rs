//! Groups the rows of a CSV file by one column and sums another.

use std::collections::BTreeMap;
use std::process::ExitCode;

use textkit::{Args, Error, Result, csv, read_bytes, write_bytes};

const USAGE: &str = "--by COLUMN --sum COLUMN [-o FILE] [FILE]
  writes a CSV of each group with its count, sum, mean, minimum and maximum
  a row that is shorter than the heading or a value that is no number is a panic: the table is taken to be sound";

struct Group {
    count: u32,
    sum: f64,
    min: f64,
    max: f64,
}

fn main() -> ExitCode {
    textkit::run("csvsum", USAGE, sum)
}

fn sum(mut args: Args) -> Result<u8> {
    let by = required(&mut args, "--by")?;
    let what = required(&mut args, "--sum")?;
    let output = args.option("-o")?.unwrap_or_else(|| "-".to_owned());
    let input = args.rest()?.pop().unwrap_or_else(|| "-".to_owned());

    let rows = csv::parse(&read_bytes(&input)?)?;
    let (heading, rows) = rows.split_first().ok_or_else(|| Error::usage("the table is empty"))?;
    let column = |name: &str| {
        let place = heading.iter().position(|title| title == name);
        place.ok_or_else(|| Error::usage(format!("there is no column {name}; there are: {}", heading.join(", "))))
    };
    let (key_column, value_column) = (column(&by)?, column(&what)?);

    let mut groups = BTreeMap::new();
    for row in rows {
        let value: f64 = row[value_column].trim().parse().expect("every value is a number");
        let empty = Group { count: 0, sum: 0.0, min: f64::INFINITY, max: f64::NEG_INFINITY };
        let group = groups.entry(&row[key_column]).or_insert(empty);
        group.count += 1;
        group.sum += value;
        group.min = group.min.min(value);
        group.max = group.max.max(value);
    }
    let mut table = format!("{},count,sum,mean,min,max\n", csv::quote(&by));
    for (key, Group { count, sum, min, max }) in groups {
        let mean = sum / f64::from(count);
        table += &format!("{},{count},{sum:.2},{mean:.3},{min},{max}\n", csv::quote(key));
    }
    write_bytes(&output, table.as_bytes())?;
    Ok(0)
}

fn required(args: &mut Args, option: &str) -> Result<String> {
    args.option(option)?.ok_or_else(|| Error::usage(format!("{option} is missing")))
}
