//! A git registry index made for tests: commits of any tree, and a server for it.

use crate::support::{Registry, index_path};
use gix::objs::tree::{Entry, EntryKind};
use gix::objs::{Tree, WriteTo};
use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// A bare repository, and the files of its next commit by path.
pub struct GitRepository {
    pub folder: PathBuf,
    pub files: BTreeMap<String, Vec<u8>>,
}

impl GitRepository {
    /// One in `folder` whose crate files are downloaded from `registry`.
    pub fn new(folder: &Path, registry: &Registry) -> GitRepository {
        gix::init_bare(folder).unwrap();
        let config = format!(r#"{{"dl":"http://127.0.0.1:{}/dl"}}"#, registry.port);
        let files = BTreeMap::from([
            ("config.json".to_owned(), config.into_bytes()),
            (".github/readme".to_owned(), b"no crate's file".to_vec()),
        ]);
        GitRepository {
            folder: folder.to_owned(),
            files,
        }
    }

    /// Takes over what `registry` lists of the crate `name`.
    pub fn take(&mut self, registry: &Registry, name: &str) {
        self.put(name, &(registry.lines(name).join("\n") + "\n"));
    }

    pub fn put(&mut self, name: &str, file: &str) {
        self.files.insert(path_of(name), file.as_bytes().to_vec());
    }

    pub fn remove(&mut self, name: &str) {
        self.files.remove(&path_of(name)).unwrap();
    }

    /// Commits the files as they are, without a parent, as a squash does.
    pub fn commit(&self, message: &str) -> String {
        let repository = gix::open_opts(&self.folder, gix::open::Options::isolated()).unwrap();
        let files: Vec<(Vec<&str>, gix::ObjectId)> = self
            .files
            .iter()
            .map(|(path, bytes)| {
                let id = repository.write_blob(bytes).unwrap().detach();
                (path.split('/').collect(), id)
            })
            .collect();
        let tree = write_tree(&repository, &files);
        let who = gix::actor::SignatureRef {
            name: "test".into(),
            email: "test@example.test".into(),
            time: "1700000000 +0000",
        };
        let none = None::<gix::ObjectId>;
        let commit = repository.new_commit_as(who, who, message, tree, none).unwrap().id;
        let any = gix::refs::transaction::PreviousValue::Any;
        repository.reference("refs/heads/main", commit, any, message).unwrap();
        std::fs::write(self.folder.join("HEAD"), "ref: refs/heads/main\n").unwrap();
        commit.to_string()
    }
}

fn path_of(name: &str) -> String {
    index_path(name).trim_start_matches("/index/").to_owned()
}

fn write_tree(repository: &gix::Repository, files: &[(Vec<&str>, gix::ObjectId)]) -> gix::ObjectId {
    let mut folders: BTreeMap<&str, Vec<(Vec<&str>, gix::ObjectId)>> = BTreeMap::new();
    let mut entries = Vec::new();
    let entry = |name: &str, kind: EntryKind, oid| Entry {
        mode: kind.into(),
        filename: name.into(),
        oid,
    };
    for (path, id) in files {
        match &path[..] {
            [name] => entries.push(entry(name, EntryKind::Blob, *id)),
            [folder, rest @ ..] => folders.entry(folder).or_default().push((rest.to_vec(), *id)),
            [] => {}
        }
    }
    for (name, files) in folders {
        entries.push(entry(name, EntryKind::Tree, write_tree(repository, &files)));
    }
    entries.sort();
    write_object(repository, Tree { entries })
}

fn write_object(repository: &gix::Repository, object: impl WriteTo) -> gix::ObjectId {
    repository.write_object(object).unwrap().detach()
}

/// Serves the repositories below a folder over HTTP, by way of `git http-backend`.
pub struct GitServer {
    pub port: u16,
}

impl GitServer {
    pub fn start(root: &Path) -> GitServer {
        let version = Command::new("git").arg("--version").output();
        assert!(
            version.is_ok_and(|output| output.status.success()),
            "this test needs the program git: install it (`apt install git`, `dnf install git`, `brew install git`)"
        );
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let root = root.to_owned();
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                serve(stream.unwrap(), &root);
            }
        });
        GitServer { port }
    }
}

/// Answers one request and closes the connection.
fn serve(stream: TcpStream, root: &Path) -> Option<()> {
    let mut reader = BufReader::new(stream.try_clone().unwrap());
    let (mut first, mut headers) = (String::new(), BTreeMap::new());
    reader.read_line(&mut first).ok()?;
    loop {
        let mut line = String::new();
        reader.read_line(&mut line).ok()?;
        match line.trim().split_once(':') {
            Some((name, value)) => headers.insert(name.to_lowercase(), value.trim().to_owned()),
            None => break,
        };
    }
    let mut words = first.split(' ');
    let (method, target) = (words.next()?, words.next()?);
    let (path, query) = target.split_once('?').unwrap_or((target, ""));
    let header = |name: &str| headers.get(name).cloned().unwrap_or_default();
    let mut body = vec![0; header("content-length").parse().unwrap_or(0)];
    reader.read_exact(&mut body).ok()?;
    let mut backend = Command::new("git")
        .arg("http-backend")
        .env("GIT_PROJECT_ROOT", root)
        .env("GIT_HTTP_EXPORT_ALL", "1")
        .env("GIT_CONFIG_NOSYSTEM", "1")
        .env("REQUEST_METHOD", method)
        .env("PATH_INFO", path)
        .env("QUERY_STRING", query)
        .env("CONTENT_TYPE", header("content-type"))
        .env("CONTENT_LENGTH", body.len().to_string())
        .env("HTTP_CONTENT_ENCODING", header("content-encoding"))
        .env("GIT_PROTOCOL", header("git-protocol"))
        .stdin(Stdio::piped())
        .stderr(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let sent = backend.stdin.take().map(|mut input| input.write_all(&body));
    let answer = backend.wait_with_output().ok()?.stdout;
    sent?.ok()?;
    let end = answer.windows(4).position(|window| window == b"\r\n\r\n")?;
    let head = String::from_utf8_lossy(&answer[..end]).into_owned();
    let status = head.lines().find_map(|line| line.strip_prefix("Status: "));
    let mut stream = stream;
    let status = status.unwrap_or("200 OK");
    let length = answer.len() - end - 4;
    write!(
        stream,
        "HTTP/1.1 {status}\r\nConnection: close\r\nContent-Length: {length}\r\n{head}\r\n\r\n"
    )
    .ok()?;
    stream.write_all(&answer[end + 4..]).ok()
}
