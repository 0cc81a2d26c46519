//! The document as its readers see it: operations, with all references followed.

use serde_json::{Map, Value};

pub struct Document(pub Value);

/// One method of one path.
#[derive(Clone, Copy)]
pub struct Operation<'d> {
    pub method: &'d str,
    pub path: &'d str,
    value: &'d Value,
}

#[derive(Clone, Copy)]
pub struct Param<'d> {
    pub name: &'d str,
    pub in_path: bool,
    pub required: bool,
    /// A value without which, or something like it, a request says too little.
    pub example: Option<&'d str>,
    pub many: bool,
    /// The status that answers what is none of the schema.
    pub refused: Option<u16>,
    /// Of one value.
    pub schema: &'d Value,
}

pub struct Body<'d> {
    pub media: &'d str,
    pub schema: &'d Value,
    pub required: bool,
}

impl Document {
    pub fn operations(&self) -> impl Iterator<Item = Operation<'_>> {
        self.0["paths"].as_object().unwrap().iter().flat_map(move |(path, item)| {
            let methods = item.as_object().unwrap().iter();
            methods.map(move |(method, value)| Operation { method, path, value })
        })
    }

    /// The schema that is meant.
    pub fn resolve<'d>(&'d self, schema: &'d Value) -> &'d Value {
        match schema["$ref"].as_str() {
            Some(reference) => self.0.pointer(&reference[1..]).unwrap_or_else(|| panic!("{reference} leads nowhere")),
            None => schema,
        }
    }
}

impl<'d> Operation<'d> {
    pub fn id(&self) -> &'d str {
        self.value["operationId"].as_str().unwrap()
    }

    pub fn tag(&self) -> &'d str {
        self.value["tags"][0].as_str().unwrap()
    }

    pub fn params(&self) -> impl Iterator<Item = Param<'d>> + use<'d> {
        self.value["parameters"].as_array().unwrap().iter().map(|param| {
            let many = param["schema"]["type"] == "array";
            Param {
                name: param["name"].as_str().unwrap(),
                in_path: param["in"] == "path",
                required: param["required"] == true,
                example: param["example"].as_str(),
                many,
                refused: param["x-refused"].as_u64().map(|status| u16::try_from(status).unwrap()),
                schema: if many { &param["schema"]["items"] } else { &param["schema"] },
            }
        })
    }

    pub fn body(&self) -> Option<Body<'d>> {
        let body = self.value["requestBody"].as_object()?;
        let (media, content) = body["content"].as_object().unwrap().iter().next().unwrap();
        Some(Body { media, schema: &content["schema"], required: body["required"] == true })
    }

    pub fn declares(&self, status: u16) -> bool {
        !self.value["responses"][status.to_string()].is_null()
    }

    /// What an answer of this status may be, by its media type.
    pub fn answers(&self, status: u16) -> Option<&'d Map<String, Value>> {
        self.value["responses"][status.to_string()]["content"].as_object()
    }

    pub fn answers_json(&self) -> bool {
        self.answers(200).is_some_and(|contents| contents.contains_key("application/json"))
    }
}
