//! Every message there and back, at its very bytes, cut at each length, and with wrong bytes.

use super::*;

fn bytes(write: impl FnOnce(&mut Vec<u8>) -> io::Result<()>) -> Vec<u8> {
    let mut bytes = Vec::new();
    write(&mut bytes).expect("a Vec");
    bytes
}

fn requests() -> Vec<(Request, Vec<u8>)> {
    let mut put = vec![1, 2, b'k', 0xff, 1];
    put.extend(3u64.to_le_bytes());
    put.extend(b"abc");
    let mut empty = vec![1, 0, 0];
    empty.extend([0; 8]);
    let key = || b"k\xff".to_vec();
    vec![
        (Request::Get(key()), vec![0, 2, b'k', 0xff]),
        (Request::Put { key: key(), overwrite: true, value: b"abc".to_vec() }, put),
        (Request::Put { key: vec![], overwrite: false, value: vec![] }, empty),
        (Request::Remove(key()), vec![2, 2, b'k', 0xff]),
        (Request::Stop, vec![3]),
        (Request::Info, vec![4]),
        (Request::Exists(key()), vec![5, 2, b'k', 0xff]),
    ]
}

#[test]
fn requests_have_their_bytes() {
    for (request, expected) in requests() {
        assert_eq!(bytes(|to| request.write(to)), expected, "{request:?}");
        assert_eq!(Request::read(&mut &expected[..]).expect("whole"), Some(request));
    }
}

#[test]
fn a_request_that_is_cut_is_an_error_and_none_is_none() {
    for (request, whole) in requests() {
        for len in 1..whole.len() {
            let read = Request::read(&mut &whole[..len]);
            assert_eq!(
                read.expect_err("cut").kind(),
                ErrorKind::UnexpectedEof,
                "{request:?} {len}"
            );
        }
    }
    assert_eq!(Request::read(&mut &b""[..]).expect("an end"), None);
}

#[test]
fn several_requests_follow_each_other() {
    let all: Vec<u8> = requests().into_iter().flat_map(|(_, bytes)| bytes).collect();
    let mut left = &all[..];
    for (request, _) in requests() {
        assert_eq!(Request::read(&mut left).expect("whole"), Some(request));
    }
    assert_eq!(Request::read(&mut left).expect("an end"), None);
}

#[test]
fn unknown_requests_and_lengths_are_refused() {
    for first in 6..=u8::MAX {
        assert!(Request::read(&mut &[first, 0, 0, 0][..]).is_err(), "{first}");
    }
    // It is refused before anything is allocated for it; and what is announced and does not come, is not.
    for len in [u64::MAX, VALUE_BYTES_MAX + 1, VALUE_BYTES_MAX] {
        let put = [&[1, 1, b'k', 0][..], &len.to_le_bytes(), b"abc"].concat();
        assert!(Request::read(&mut &put[..]).is_err(), "{len}");
    }
    // Other bits of the flags are ignored.
    let put = [&[1, 0, 0xfe][..], &[0; 8]].concat();
    let read = Request::read(&mut &put[..]).expect("whole");
    assert!(matches!(read, Some(Request::Put { overwrite: false, .. })));
}

#[test]
fn greetings() {
    let ours = Greeting::of(&[Capability::Values, Capability::Info, Capability::Exists]);
    let expected = vec![1, 3, 0, 1, 2];
    assert_eq!(bytes(|to| ours.write(to)), expected);
    assert_eq!(Greeting::read(&mut &expected[..]).expect("whole"), ours);
    for len in 0..expected.len() {
        assert!(Greeting::read(&mut &expected[..len]).is_err(), "{len}");
    }
    for version in [0, 2, b'H'] {
        assert!(Greeting::read(&mut &[version, 1, 0][..]).is_err(), "{version}");
    }
    let newer = Greeting::read(&mut &[1, 2, 0, 77][..]).expect("whole");
    assert!(newer.has(Capability::Values) && !newer.has(Capability::Exists));
}

#[test]
fn answers_have_their_bytes() {
    let value = Answer::Done(b"abc".to_vec());
    let expected = [&[0][..], &3u64.to_le_bytes(), b"abc"].concat();
    assert_eq!(bytes(|to| value.write(to)), expected);
    for len in 0..expected.len() {
        assert!(Answer::<Vec<u8>>::read(&mut &expected[..len]).is_err(), "{len}");
    }
    assert_eq!(Answer::<Vec<u8>>::read(&mut &expected[..]).expect("whole"), value);
    assert_eq!(Answer::<Vec<u8>>::read(&mut &[1][..]).expect("whole"), Answer::Nothing);

    let failed = Answer::<()>::Failed("no".into());
    assert_eq!(bytes(|to| failed.write(to)), [2, 2, b'n', b'o']);
    for (bytes, answer) in [
        (&[0][..], Answer::Done(())),
        (&[1], Answer::Nothing),
        (&[2, 2, b'n', b'o'], Answer::Failed("no".into())),
        (&[2, 0], Answer::Failed(String::new())),
        (&[2, 1, 0xff], Answer::Failed("\u{fffd}".into())),
    ] {
        assert_eq!(Answer::<()>::read(&mut &bytes[..]).expect("whole"), answer);
        for len in 0..bytes.len() {
            assert!(Answer::<()>::read(&mut &bytes[..len]).is_err(), "{bytes:?} {len}");
        }
    }
    for first in 3..=u8::MAX {
        assert!(Answer::<()>::read(&mut &[first, 0][..]).is_err(), "{first}");
    }
    for is_there in [false, true] {
        let expected = [0, u8::from(is_there)];
        assert_eq!(bytes(|to| Answer::Done(is_there).write(to)), expected);
        assert_eq!(
            Answer::<bool>::read(&mut &expected[..]).expect("whole"),
            Answer::Done(is_there)
        );
    }
    assert!(
        Answer::<bool>::read(&mut &[0, 2][..]).is_err()
            && Answer::<bool>::read(&mut &[0][..]).is_err()
    );
}

#[test]
fn messages_are_short_and_of_one_line() {
    let long = "é".repeat(200);
    let written = bytes(|to| Answer::<()>::Failed(format!("{long}\n<html>")).write(to));
    let Answer::Failed(read) = Answer::<()>::read(&mut &written[..]).expect("whole") else {
        panic!("not failed");
    };
    assert_eq!((read.len(), read.lines().count()), (254, 1));
    let key = vec![0; 256];
    assert!(Request::Get(key).write(&mut Vec::new()).is_err(), "a key that is too long");
}

#[test]
fn what_a_helper_is() {
    let lines = vec!["one".to_owned(), String::new()];
    let info = Info { identity: "x 1".into(), diagnostics: lines };
    let expected = b"\x03x 1\x02\x03one\x00".to_vec();
    assert_eq!(bytes(|to| info.write(to)), expected);
    assert_eq!(Info::read(&mut &expected[..]).expect("whole"), info);
    for len in 0..expected.len() {
        assert!(Info::read(&mut &expected[..len]).is_err(), "{len}");
    }
    let many = Info { identity: String::new(), diagnostics: vec![String::new(); 300] };
    let written = bytes(|to| many.write(to));
    assert_eq!(Info::read(&mut &written[..]).expect("whole").diagnostics.len(), 255);
}
