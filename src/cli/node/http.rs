//! As much of HTTP/1.1 as a monitor needs: one GET a connection, a short text as the answer.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;

/// Connections served at once; more are closed. A monitor or two need one each.
const CONNECTIONS_MAX: usize = 16;

/// Longest head of a request, in bytes. Monitors send a few hundred.
const HEAD_LEN_MAX: usize = 8 * 1024;

/// From the connection to the end of the answer.
const PATIENCE: Duration = Duration::from_secs(5);

/// Pause after the system refused to accept a connection, for want of memory or handles.
const ACCEPT_PAUSE: Duration = Duration::from_millis(200);

/// A text that answers a request.
#[derive(Debug)]
pub(super) struct Page {
    pub(super) status: Status,
    pub(super) content_type: &'static str,
    pub(super) body: String,
}

impl Page {
    /// Plain text.
    pub(super) fn text(status: Status, body: impl Into<String>) -> Self {
        Self { status, content_type: "text/plain; charset=utf-8", body: body.into() }
    }
}

/// How an answer begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Status {
    Ok,
    BadRequest,
    NotFound,
    MethodNotAllowed,
    HeadTooLarge,
    Unavailable,
}

impl Status {
    fn line(self) -> &'static str {
        match self {
            Self::Ok => "200 OK",
            Self::BadRequest => "400 Bad Request",
            Self::NotFound => "404 Not Found",
            Self::MethodNotAllowed => "405 Method Not Allowed",
            Self::HeadTooLarge => "431 Request Header Fields Too Large",
            Self::Unavailable => "503 Service Unavailable",
        }
    }
}

/// Listens on a TCP address.
pub(super) async fn bind(addr: SocketAddr) -> io::Result<TcpListener> {
    TcpListener::bind(addr).await
}

/// Answers requests forever: `page` makes the answer to a path.
pub(super) async fn serve<F>(listener: TcpListener, page: impl Fn(String) -> F + Clone + Send + Sync + 'static)
where
    F: Future<Output = Page> + Send + 'static,
{
    let places = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    let mut served = tokio::task::JoinSet::new();
    loop {
        let stream = tokio::select! {
            accepted = listener.accept() => match accepted {
                Ok((stream, _)) => stream,
                Err(error) => {
                    tracing::warn!(%error, "cannot accept a connection for metrics");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                    continue;
                }
            },
            Some(_) = served.join_next() => continue,
        };
        let Ok(place) = places.clone().try_acquire_owned() else {
            tracing::debug!("a connection for metrics was closed: {CONNECTIONS_MAX} are open");
            continue;
        };
        let page = page.clone();
        served.spawn(async move {
            // Whoever is too slow, or goes away, gets nothing; that is no concern of the node.
            let _ = tokio::time::timeout(PATIENCE, answer(stream, page)).await;
            drop(place);
        });
    }
}

async fn answer<F: Future<Output = Page>>(mut stream: TcpStream, page: impl Fn(String) -> F) -> io::Result<()> {
    let mut head = Vec::with_capacity(1024);
    let request = loop {
        if let Some(end) = head.windows(4).position(|bytes| bytes == b"\r\n\r\n") {
            break parse(&head[..end]);
        }
        if head.len() >= HEAD_LEN_MAX {
            break Err(Status::HeadTooLarge);
        }
        let room = HEAD_LEN_MAX - head.len();
        if (&mut stream).take(room as u64).read_buf(&mut head).await? == 0 {
            return Ok(());
        }
    };
    let (has_body, page) = match request {
        Ok(Request { path, has_body }) => (has_body, page(path).await),
        Err(status) => (true, Page::text(status, format!("{}\n", status.line()))),
    };
    stream.write_all(&encode(&page, has_body)).await?;
    stream.shutdown().await?;
    // What was sent beyond the head is read, so that closing does not cut off the answer on its way.
    let mut rest = [0; 1024];
    let mut left = HEAD_LEN_MAX;
    while left > 0 {
        match stream.read(&mut rest).await? {
            0 => break,
            len => left = left.saturating_sub(len),
        }
    }
    Ok(())
}

#[derive(Debug, PartialEq, Eq)]
struct Request {
    path: String,
    has_body: bool,
}

/// Reads the first line of a request; the headers change nothing here.
fn parse(head: &[u8]) -> Result<Request, Status> {
    let line = head.split(|byte| *byte == b'\r').next().unwrap_or_default();
    let line = std::str::from_utf8(line).map_err(|_| Status::BadRequest)?;
    let words: Vec<&str> = line.split(' ').collect();
    let &[method, target, version] = &words[..] else { return Err(Status::BadRequest) };
    if !matches!(version, "HTTP/1.1" | "HTTP/1.0") || !target.starts_with('/') {
        return Err(Status::BadRequest);
    }
    let path = target.split('?').next().unwrap_or_default().to_owned();
    match method {
        "GET" => Ok(Request { path, has_body: true }),
        "HEAD" => Ok(Request { path, has_body: false }),
        _ => Err(Status::MethodNotAllowed),
    }
}

fn encode(page: &Page, has_body: bool) -> Vec<u8> {
    let Page { status, content_type, body } = page;
    let allow = if *status == Status::MethodNotAllowed { "Allow: GET, HEAD\r\n" } else { "" };
    let (line, len) = (status.line(), body.len());
    let mut text = format!(
        "HTTP/1.1 {line}\r\nContent-Type: {content_type}\r\nContent-Length: {len}\r\n\
         Cache-Control: no-store\r\n{allow}Connection: close\r\n\r\n"
    );
    if has_body {
        text.push_str(body);
    }
    text.into_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn page(path: String) -> Page {
        match path.as_str() {
            "/here" => Page::text(Status::Ok, "it is here\n"),
            _ => Page::text(Status::NotFound, "nothing\n"),
        }
    }

    /// Serves while `test` runs.
    fn with_server<F: Future<Output = ()>>(test: impl FnOnce(SocketAddr) -> F) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let listener = bind(([127, 0, 0, 1], 0).into()).await.unwrap();
            let addr = listener.local_addr().unwrap();
            let server = tokio::spawn(serve(listener, page));
            tokio::time::timeout(Duration::from_secs(30), test(addr)).await.expect("done before the deadline");
            server.abort();
        });
    }

    async fn ask(addr: SocketAddr, request: &[u8]) -> String {
        let mut stream = TcpStream::connect(addr).await.unwrap();
        stream.write_all(request).await.unwrap();
        let mut text = String::new();
        stream.read_to_string(&mut text).await.unwrap();
        text
    }

    #[test]
    fn requests_get_what_they_ask_for() {
        with_server(|addr| async move {
            let found = ask(addr, b"GET /here?x=1 HTTP/1.1\r\nHost: a\r\n\r\n").await;
            assert!(found.starts_with("HTTP/1.1 200 OK\r\n"), "{found}");
            assert!(found.contains("\r\nContent-Length: 11\r\n") && found.ends_with("\r\n\r\nit is here\n"), "{found}");
            let head = ask(addr, b"HEAD /here HTTP/1.0\r\n\r\n").await;
            assert!(head.contains("\r\nContent-Length: 11\r\n") && head.ends_with("\r\n\r\n"), "{head}");
            let cases: [(&[u8], &str); 6] = [
                (b"GET /else HTTP/1.1\r\n\r\n", "404"),
                (b"POST /here HTTP/1.1\r\nContent-Length: 3\r\n\r\nabc", "405"),
                (b"GET here HTTP/1.1\r\n\r\n", "400"),
                (b"GET /here SPDY/3\r\n\r\n", "400"),
                (b"\xff\xfe\r\n\r\n", "400"),
                (b"\r\n\r\n", "400"),
            ];
            for (request, status) in cases {
                let answer = ask(addr, request).await;
                assert!(answer.starts_with(&format!("HTTP/1.1 {status} ")), "{answer}");
            }
        });
    }

    #[test]
    fn a_head_without_end_is_refused() {
        with_server(|addr| async move {
            let answer = ask(addr, &[b'a'; HEAD_LEN_MAX]).await;
            assert!(answer.starts_with("HTTP/1.1 431 "), "{answer}");
        });
    }

    #[test]
    fn connections_that_say_nothing_do_not_add_up() {
        with_server(|addr| async move {
            let mut silent = Vec::new();
            for _ in 0..CONNECTIONS_MAX {
                silent.push(TcpStream::connect(addr).await.unwrap());
            }
            // The one too many is closed without a word; the others keep their places until they go.
            let mut refused = TcpStream::connect(addr).await.unwrap();
            assert_eq!(refused.read(&mut [0; 8]).await.unwrap_or(0), 0);
            drop(silent);
            loop {
                let mut stream = TcpStream::connect(addr).await.unwrap();
                let mut text = String::new();
                let sent = stream.write_all(b"GET /here HTTP/1.1\r\n\r\n").await;
                if sent.is_ok() && stream.read_to_string(&mut text).await.is_ok() && text.contains("200 OK") {
                    break;
                }
            }
        });
    }
}
