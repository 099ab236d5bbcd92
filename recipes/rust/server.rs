//! Answers GET /hello/NAME with a greeting, and POST /sum, numbers between spaces, with their sum; with the standard
//! library alone.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::thread;
use std::time::Duration;

const PORT: u16 = 8000;
const MOST_BYTES: u64 = 65_536; // of a request
const PATIENCE: Duration = Duration::from_secs(10);

/// What is asked for: the first line's method and path, and the body.
struct Request {
    method: String,
    path: String,
    body: String,
}

fn read(stream: &TcpStream) -> io::Result<Request> {
    let mut reader = BufReader::new(stream.take(MOST_BYTES));
    let mut first = String::new();
    reader.read_line(&mut first)?;
    let mut words = first.split_whitespace().map(String::from);
    let (method, path) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
    let mut length = 0;
    loop {
        let mut line = String::new();
        reader.read_line(&mut line)?;
        match line.trim_end().split_once(':') {
            Some((name, value)) if name.eq_ignore_ascii_case("content-length") => {
                length = value.trim().parse().map_err(|_| io::ErrorKind::InvalidData)?;
            }
            Some(_) => {}
            None => break,
        }
    }
    let mut body = String::new();
    reader.take(length).read_to_string(&mut body)?;
    Ok(Request { method, path, body })
}

fn answer(request: &Request) -> (&'static str, String) {
    match (request.method.as_str(), request.path.strip_prefix("/hello/")) {
        ("GET", Some(name)) => ("200 OK", format!("hello, {name}")),
        ("POST", None) if request.path == "/sum" => {
            match request.body.split_whitespace().map(str::parse::<f64>).sum::<Result<f64, _>>() {
                Ok(sum) => ("200 OK", sum.to_string()),
                Err(_) => ("400 Bad Request", "expected numbers".into()),
            }
        }
        _ => ("404 Not Found", "not found".into()),
    }
}

fn serve(mut stream: TcpStream) -> io::Result<()> {
    stream.set_read_timeout(Some(PATIENCE))?;
    let (status, text) = answer(&read(&stream)?);
    let length = text.len() + 1;
    write!(
        stream,
        "HTTP/1.1 {status}\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Length: {length}\r\n\
         Connection: close\r\n\r\n{text}\n"
    )
}

fn main() -> io::Result<()> {
    let listener = TcpListener::bind((Ipv4Addr::UNSPECIFIED, PORT))?;
    for stream in listener.incoming() {
        let stream = stream?;
        thread::spawn(move || serve(stream).map_err(|error| eprintln!("a request was given up: {error}")));
    }
    Ok(())
}
