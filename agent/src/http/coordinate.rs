//! `/v1/coordinate/...`: where nodes are, as far as round trips tell, and telling it.

use super::call::{Call, Encoding, Plan, Reply, WriteAnswer};
use super::wire::{self, WirePlace};
use super::{Context, body, named, options, undecodable};
use crate::json::Object;
use lictor_catalog::model::DIMENSIONS;
use lictor_catalog::{Command, Coordinate, NodeCoordinate, Query};
use schemars::JsonSchema;
use serde::Serialize;
use serde_json::Value;

/// One datacenter's servers.
#[derive(JsonSchema, Serialize)]
#[schemars(rename = "DatacenterPlaces")]
#[serde(rename_all = "PascalCase")]
pub(super) struct Datacenter<'a> {
    datacenter: &'a str,
    #[serde(rename = "AreaID")]
    area_id: &'static str,
    coordinates: Vec<WirePlace<'a>>,
}

fn enabled(context: &Context<'_>) -> Result<(), Reply> {
    if context.facts.coordinates { Ok(()) } else { Err(Reply::text(401, "Coordinate support disabled")) }
}

/// There are no segments: no row is of one that has a name.
fn in_segment(call: &Call) -> Encoding {
    Encoding { form: options::unless_in(call, "segment"), ..Encoding::default() }
}

/// The servers, where they are among each other. There is no network across datacenters yet.
pub fn datacenters(context: &Context<'_>, call: &Call, _: &str) -> Result<Plan, Reply> {
    enabled(context)?;
    let datacenter = context.facts.datacenter.as_str();
    let servers = context.view.servers.iter().filter_map(|server| context.view.store.coordinate(&server.name));
    let named: Vec<(String, &Coordinate)> =
        servers.map(|placed| (format!("{}.{datacenter}", &*placed.node), &placed.coordinate)).collect();
    let coordinates = named.iter().map(|(name, coordinate)| WirePlace::named(name, coordinate)).collect();
    Ok(Plan::Answer(wire::reply(context, call, &[Datacenter { datacenter, area_id: "WAN", coordinates }])))
}

pub fn nodes(context: &Context<'_>, call: &Call, _: &str) -> Result<Plan, Reply> {
    enabled(context)?;
    options::read_as(context, call, Query::Coordinates, in_segment(call))
}

pub fn node(context: &Context<'_>, call: &Call, name: &str) -> Result<Plan, Reply> {
    enabled(context)?;
    let node = named(name, "Missing node name")?;
    options::read_as(context, call, Query::Coordinate { node }, in_segment(call))
}

/// Places a node. Consul gathers such updates for 5 s; here the log's own batches do, so it can be read at once.
pub fn update(context: &Context<'_>, call: &Call, _: &str) -> Result<Plan, Reply> {
    enabled(context)?;
    options::here(context, call)?;
    let body = body(call)?;
    let object = Object::of(&body).map_err(undecodable)?;
    let node = object.string("Node").map_err(undecodable)?;
    let coordinate = read(&object)?;
    if node.is_empty() {
        return Err(Reply::text(400, "Missing node name"));
    }
    Ok(Plan::Write(Command::Coordinate(NodeCoordinate { node: node.into(), coordinate }), WriteAnswer::Empty))
}

fn read(object: &Object<'_>) -> Result<Coordinate, Reply> {
    let Some(coordinate) = object.object("Coord").map_err(undecodable)? else {
        return Err(Reply::text(400, "invalid coordinate"));
    };
    let number =
        |value: &Value| value.as_f64().ok_or_else(|| undecodable(format!("Coord: expected a number, got {value}")));
    let field = |name| coordinate.get(name).map_or(Ok(0.0), number);
    let vector: Vec<f64> = coordinate.list("Vec").map_err(undecodable)?.iter().map(number).collect::<Result<_, _>>()?;
    let vector: [f64; DIMENSIONS] = vector.try_into().map_err(|vector: Vec<f64>| {
        Reply::text(400, format!("incompatible coordinate: {} dimensions, here there are {DIMENSIONS}", vector.len()))
    })?;
    let numbers = (vector, field("Height")?, field("Error")?, field("Adjustment")?);
    Coordinate::try_from(numbers).map_err(|why| Reply::text(400, format!("invalid coordinate: {why}")))
}
