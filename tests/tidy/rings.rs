//! The imports between the files of `src`, and the rings among them.

use std::collections::{BTreeMap, BTreeSet};

use super::{
    assert_none,
    source::{NamedPath, Source},
};

/// The sources of a crate by module path, such as `["domain", "clock"]`.
struct Crate {
    files: BTreeMap<Vec<String>, File>,
}

/// One source file as a module.
struct File {
    source: Source,
    /// The full path of each name that the file imports or re-exports.
    imports: BTreeMap<String, Vec<String>>,
    /// The lines of its re-exports, which don't count as dependencies.
    re_exports: BTreeSet<usize>,
}

impl Crate {
    fn read() -> Self {
        let sources = Source::all("src");
        let modules: BTreeSet<_> = sources.iter().map(Source::module).collect();
        let files = sources.into_iter().map(|source| (source.module(), File::new(source, &modules))).collect();
        Self { files }
    }

    /// The module whose file defines what a path from the crate's root names.
    fn definition(&self, path: &[String]) -> Option<&[String]> {
        self.follow(path, 0)
    }

    /// Follows re-exports; `depth` bounds those that name each other.
    fn follow(&self, path: &[String], depth: usize) -> Option<&[String]> {
        let length = (0..=path.len()).rev().find(|length| self.files.contains_key(&path[..*length]))?;
        let (module, file) = self.files.get_key_value(&path[..length])?;
        let Some(target) = path.get(length).and_then(|name| file.imports.get(name)) else { return Some(module) };
        let rest = path.get(length + 1..).unwrap_or_default();
        let target: Vec<_> = target.iter().chain(rest).cloned().collect();
        if depth == 8 || target == path { Some(module) } else { self.follow(&target, depth + 1) }
    }

    /// The files that each file imports, with the line of the first import.
    fn dependencies(&self) -> BTreeMap<&[String], BTreeMap<&[String], usize>> {
        let of = |file: &File, module: &[String]| {
            let mut found = BTreeMap::new();
            let paths = file.source.paths().into_iter();
            for path in paths.filter(|path| !file.source.is_test(path.line) && !file.re_exports.contains(&path.line)) {
                let target = file.resolve(&path).and_then(|path| self.definition(&path).map(<[String]>::to_vec));
                if let Some((target, _)) = target.and_then(|target| self.files.get_key_value(&target))
                    && target != module
                {
                    found.entry(target.as_slice()).or_insert(path.line);
                }
            }
            found
        };
        self.files.iter().map(|(module, file)| (module.as_slice(), of(file, module))).collect()
    }
}

impl File {
    /// `modules` are all files' modules: a path may begin with a module that the file declares.
    fn new(source: Source, modules: &BTreeSet<Vec<String>>) -> Self {
        let re_exports = source.re_exports();
        let mut imports = BTreeMap::new();
        let in_child = |path: &NamedPath| {
            let child: Vec<_> = source.module().into_iter().chain([path.segments[0].clone()]).collect();
            let rest = path.segments[1..].iter().cloned();
            modules.contains(&child).then(|| child.into_iter().chain(rest).collect())
        };
        for path in source.imports() {
            let target = source.resolve(&path).or_else(|| in_child(&path));
            if let (Some(name), Some(target)) = (path.segments.last(), target) {
                imports.insert(name.clone(), target);
            }
        }
        Self { source, imports, re_exports }
    }

    /// A path from the crate's root, also where it begins with a module that the file imports or declares.
    fn resolve(&self, path: &NamedPath) -> Option<Vec<String>> {
        let first = path.segments.first()?;
        if let Some(target) = self.imports.get(first) {
            return Some(target.iter().chain(&path.segments[1..]).cloned().collect());
        }
        self.source.resolve(path).or_else(|| {
            let mut module = self.source.module();
            module.extend(path.segments.iter().cloned());
            Some(module)
        })
    }
}

/// The sets of files that import each other: a file, and all files that it reaches and is reached from.
fn rings<'a>(graph: &BTreeMap<&'a [String], BTreeMap<&'a [String], usize>>) -> Vec<BTreeSet<&'a [String]>> {
    let reach = |from: &'a [String]| {
        let (mut seen, mut open) = (BTreeSet::new(), vec![from]);
        while let Some(module) = open.pop() {
            for next in graph[module].keys() {
                if seen.insert(*next) {
                    open.push(next);
                }
            }
        }
        seen
    };
    let reachable: BTreeMap<_, _> = graph.keys().map(|module| (*module, reach(module))).collect();
    let ring = |module: &&'a [String]| -> BTreeSet<&'a [String]> {
        reachable[module].iter().copied().filter(|other| reachable[other].contains(module)).collect()
    };
    graph.keys().map(ring).filter(|ring| ring.len() > 1).collect::<BTreeSet<_>>().into_iter().collect()
}

#[test]
fn no_files_import_each_other_in_a_ring() {
    let sources = Crate::read();
    let graph = sources.dependencies();
    let path = |module: &[String]| sources.files[module].source.path.as_str();
    let rings = rings(&graph);
    let mut findings = Vec::new();
    for ring in &rings {
        findings.push(format!("{} files import each other in a ring:", ring.len()));
        for file in ring {
            for (target, line) in graph[file].iter().filter(|(target, _)| ring.contains(*target)) {
                findings.push(format!("  {}:{line} imports {}", path(file), path(target)));
            }
        }
    }
    assert_none(&findings);
}
