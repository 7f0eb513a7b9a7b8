//! A page of Markdown, and what of it is run.

/// Commands, and what they are expected to print.
#[derive(Debug, PartialEq, Eq)]
pub struct Block {
    /// The number of the first line of the commands.
    pub line: usize,
    pub commands: String,
    /// Whether the last command has to fail.
    pub fails: bool,
    /// The output that the page shows directly below the commands.
    pub expected: Option<String>,
}

/// The blocks of a page that are run, in order.
///
/// # Panics
/// If a fence is not closed, or the mark of an `sh` block is unknown.
pub fn blocks(text: &str) -> Vec<Block> {
    let mut blocks: Vec<Block> = Vec::new();
    // Whether nothing but blank lines came after the last block that is run.
    let mut directly_below = false;
    let mut lines = text.lines().enumerate();
    while let Some((_, line)) = lines.next() {
        let Some(info) = line.trim_start().strip_prefix("```") else {
            directly_below &= line.trim().is_empty();
            continue;
        };
        // A block in a list is indented.
        let indent = line.len() - line.trim_start().len();
        let mut content = String::new();
        let mut first = None;
        loop {
            let (number, line) = lines.next().expect("the end of a block");
            if line.trim() == "```" {
                break;
            }
            first.get_or_insert(number + 1);
            content.push_str(line.get(indent..).unwrap_or_default());
            content.push('\n');
        }
        match info.trim() {
            "sh" | "sh fails" => blocks.push(Block {
                line: first.unwrap_or_default(),
                commands: content,
                fails: info.ends_with("fails"),
                expected: None,
            }),
            "" if directly_below => {
                if let Some(block) = blocks.last_mut() {
                    block.expected = Some(content);
                }
            }
            other => assert!(
                other == "sh setup" || !other.starts_with("sh "),
                "unknown mark: `{other}`"
            ),
        }
        directly_below = matches!(info.trim(), "sh" | "sh fails");
    }
    blocks
}

#[test]
fn commands_are_found_with_their_output() {
    let page = "# Page\n```sh setup\ncargo build\n```\n```\nnot output\n```\n```sh\necho 1\necho 2\n```\n\n```\n1\n2\n```\n\
        ```\nnot output\n```\n  ```sh fails\n  false\n  ```\nText.\n```\nGET /v1/jobs\n```\n```toml\nkey = 1\n```\n";
    let expected = [
        Block {
            line: 9,
            commands: "echo 1\necho 2\n".to_owned(),
            fails: false,
            expected: Some("1\n2\n".to_owned()),
        },
        Block {
            line: 21,
            commands: "false\n".to_owned(),
            fails: true,
            expected: None,
        },
    ];
    assert_eq!(blocks(page), expected);
}
