pub mod envfile { pub struct Parsed{pub vars:Vec<(String,String)>,pub warnings:Vec<String>} pub fn parse(_:&str)->Parsed{Parsed{vars:vec![],warnings:vec![]}} }
