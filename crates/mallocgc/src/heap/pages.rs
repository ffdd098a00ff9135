//! stub
use crate::base::PageId;
use crate::os::OsError;
#[derive(Clone, Copy, Debug)]
pub struct PageRun {
    pub first: PageId,
    pub pages: usize,
    pub zeroed_pages: usize,
}
#[derive(Debug)]
pub struct Pages {
    used: Vec<u8>,
    end: usize,
    hint: usize,
}
impl Pages {
    pub fn new(_n: usize) -> Result<Pages, OsError> {
        Ok(Pages { used: Vec::new(), end: 0, hint: 0 })
    }
    pub fn grow(&mut self, first: PageId, pages: usize) -> Result<(), OsError> {
        self.used.resize(first.index() + pages, 2);
        self.end = self.used.len();
        Ok(())
    }
    pub fn take(&mut self, pages: usize, _align: usize) -> Option<PageRun> {
        let mut i = if pages <= 4 { self.hint } else { 0 };
        let mut run = 0;
        while i < self.end {
            if self.used[i] != 1 {
                run += 1;
                if run == pages {
                    let f = i + 1 - pages;
                    let z = self.used[f..=i].iter().filter(|x| **x == 2).count();
                    self.used[f..=i].fill(1);
                    if pages <= 4 {
                        self.hint = i;
                    }
                    return Some(PageRun { first: PageId(f as u32), pages, zeroed_pages: z });
                }
            } else {
                run = 0;
            }
            i += 1;
        }
        None
    }
    pub fn give_back(&mut self, first: PageId, pages: usize) {
        self.hint = self.hint.min(first.index());
        self.used[first.index()..first.index() + pages].fill(0);
    }
    pub fn free_at_end(&self, end: usize) -> usize {
        let mut n = 0;
        while n < end && self.used[end - 1 - n] != 1 {
            n += 1;
        }
        n
    }
    pub fn scavenged_pages(&self) -> usize {
        self.used.iter().filter(|x| **x == 2).count()
    }
}
