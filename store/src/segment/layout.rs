//! Which rows lie on which page, and which pages in which chunk.

use super::{CHUNK_PAGES, PAGE_ROWS};
use std::ops::Range;

/// The cut of a segment's rows, the same for all of its columns.
#[derive(Debug, Clone, PartialEq, Default)]
pub(super) struct Layout {
    rows: u64,
    /// Where pages or chunks are shorter than they could be.
    listed: Option<Listed>,
}

#[derive(Debug, Clone, PartialEq)]
struct Listed {
    /// The first row of each page, and the end.
    pages: Vec<u64>,
    /// The first page of each chunk, and the end.
    chunks: Vec<usize>,
}

impl Layout {
    /// Pages of so many rows, in chunks of so many pages; `None` where they do not add up or one
    /// is empty or too long.
    pub(super) fn of(page_rows: &[usize], chunk_pages: &[usize]) -> Option<Layout> {
        let ends = |sizes: &[usize]| {
            let mut ends = vec![0];
            ends.extend(sizes.iter().scan(0, |end, size| {
                *end += size;
                Some(*end)
            }));
            ends
        };
        let fits = page_rows.iter().all(|rows| (1..=PAGE_ROWS).contains(rows));
        let chunks = ends(chunk_pages);
        if !fits || chunk_pages.contains(&0) || chunks.last() != Some(&page_rows.len()) {
            return None;
        }
        let pages: Vec<u64> = ends(page_rows).into_iter().map(|end| end as u64).collect();
        let full = |sizes: &[usize], size| sizes.iter().rev().skip(1).all(|one| *one == size);
        let uniform = full(page_rows, PAGE_ROWS)
            && full(chunk_pages, CHUNK_PAGES)
            && chunk_pages.iter().all(|pages| *pages <= CHUNK_PAGES);
        let rows = pages.last().copied().unwrap_or_default();
        Some(Layout { rows, listed: (!uniform).then_some(Listed { pages, chunks }) })
    }

    pub(super) fn is_uniform(&self) -> bool {
        self.listed.is_none()
    }

    pub(super) fn rows(&self) -> u64 {
        self.rows
    }

    pub(super) fn pages(&self) -> usize {
        match &self.listed {
            None => (self.rows as usize).div_ceil(PAGE_ROWS),
            Some(listed) => listed.pages.len() - 1,
        }
    }

    /// The page of a row.
    pub(super) fn page_of(&self, row: u64) -> usize {
        match &self.listed {
            None => row as usize / PAGE_ROWS,
            Some(listed) => listed.pages.partition_point(|first| *first <= row) - 1,
        }
    }

    /// The rows of a page.
    pub(super) fn page_rows(&self, page: usize) -> Range<u64> {
        match &self.listed {
            None => {
                let first = (page * PAGE_ROWS) as u64;
                first..self.rows.min(first + PAGE_ROWS as u64)
            }
            Some(listed) => listed.pages[page]..listed.pages[page + 1],
        }
    }

    /// The chunk of a page.
    pub(super) fn chunk_of(&self, page: usize) -> usize {
        match &self.listed {
            None => page / CHUNK_PAGES,
            Some(listed) => listed.chunks.partition_point(|first| *first <= page) - 1,
        }
    }

    /// The pages of a chunk.
    pub(super) fn chunk_pages(&self, chunk: usize) -> Range<usize> {
        match &self.listed {
            None => chunk * CHUNK_PAGES..self.pages().min((chunk + 1) * CHUNK_PAGES),
            Some(listed) => listed.chunks[chunk]..listed.chunks[chunk + 1],
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_forms_agree_on_where_a_row_is() {
        let uniform = Layout::of(&[PAGE_ROWS, PAGE_ROWS, 7], &[3]).unwrap();
        assert!(uniform.is_uniform());
        assert_eq!(uniform.rows(), 2 * PAGE_ROWS as u64 + 7);
        let sizes = [5, 1, PAGE_ROWS, 3];
        let listed = Layout::of(&sizes, &[1, 3]).unwrap();
        assert!(!listed.is_uniform());
        for layout in [uniform, listed] {
            for page in 0..layout.pages() {
                let rows = layout.page_rows(page);
                assert!(rows.clone().all(|row| layout.page_of(row) == page));
                assert!(layout.chunk_pages(layout.chunk_of(page)).contains(&page));
            }
            assert_eq!(layout.page_rows(layout.pages() - 1).end, layout.rows());
            let last = layout.chunk_of(layout.pages() - 1);
            assert_eq!(layout.chunk_pages(last).end, layout.pages());
        }
    }

    #[test]
    fn what_does_not_add_up_is_refused() {
        assert!(Layout::of(&[4, 0], &[2]).is_none());
        assert!(Layout::of(&[4, PAGE_ROWS + 1], &[2]).is_none());
        assert!(Layout::of(&[4, 4], &[1]).is_none());
        assert!(Layout::of(&[4, 4], &[2, 0]).is_none());
        assert_eq!(Layout::of(&[], &[]), Some(Layout::default()));
    }
}
